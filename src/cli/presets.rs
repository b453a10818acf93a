//! The table of recipes that `secateur eval --try-presets` ranks.

use serde_json::json;

use super::output::{Output, many};
use crate::pipeline::{PresetTrial, TrialMeasure, TriedRecipe};

/// Prints recipes from the best to the worst, with the options of each.
pub(super) fn print_trial(trial: &PresetTrial, output: &Output) {
    let PresetTrial { images, measure, at_chance, recipes } = trial;
    if let Some([best, chance]) = at_chance {
        output.note(format!(
            "the best top-1 is {best:.1} % (chance {chance:.1} %): labels do not fit, or preprocessing is another one"
        ));
    }
    let (named, unit) = match measure {
        TrialMeasure::Top1 => ("top-1".to_owned(), " %"),
        TrialMeasure::Statistics(node) => (
            format!(
                "the divergence of values before {node} from its stored statistics, in nats a channel (0 is best)"
            ),
            "",
        ),
        TrialMeasure::Information => (
            "the mutual information of images and predicted classes in bits, which is a hint only".to_owned(),
            "",
        ),
    };
    output.line(format!("{} by {named}", many(*images, "image")));
    for recipe in recipes {
        let error = recipe.error.map_or_else(String::new, |error| format!(" ± {error:.2}"));
        let tied = if recipe.is_tied { '=' } else { ' ' };
        let value = format!("{:.2}{unit}{error}", recipe.value);
        output.line(format!("{tied} {value:<16} {}", options(recipe)));
    }
    if let Some(best) = recipes.first() {
        let ties = recipes.iter().filter(|recipe| recipe.is_tied).count() - 1;
        let tied = match ties {
            0 => String::new(),
            1 => "; another one (=) is as good within the error, which more --images reduce".to_owned(),
            n => format!("; {n} others (=) are as good within the error, which more --images reduce"),
        };
        output.line(format!("best: {}{tied}", options(best)));
        output.line(format!("      {}", best.preprocessing));
    }
    let row = |recipe: &TriedRecipe| {
        json!({
            "options": options(recipe), "preprocessing": recipe.preprocessing, "value": recipe.value,
            "error": recipe.error, "tied": recipe.is_tied,
        })
    };
    let by = match measure {
        TrialMeasure::Top1 => "top1",
        TrialMeasure::Statistics(_) => "statistics",
        TrialMeasure::Information => "information",
    };
    output.result(&json!({
        "images": images, "by": by, "higher_is_better": measure.higher_is_better(),
        "at_chance": at_chance.is_some(), "best": recipes.first().map(options),
        "recipes": recipes.iter().map(row).collect::<Vec<_>>(),
    }));
}

/// Returns the options of a recipe as arguments.
fn options(recipe: &TriedRecipe) -> String {
    if recipe.options.is_empty() {
        return "(no options)".to_owned();
    }
    recipe.options.iter().map(|(name, value)| format!("--{name} {value}")).collect::<Vec<_>>().join(" ")
}
