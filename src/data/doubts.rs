//! Doubts about a preprocessing, from samples before and after it.
//!
//! A doubt is raised only if all samples of the survey agree, so that the right recipe raises none.

use super::letterbox::Letterbox;
use super::picture::{Preprocessor, shorter_to};
use super::recipe::{DataOptions, Preprocessing, Preset, ResizeTo, Size};
use super::survey::{ImageKind, SampleKind, Survey};
use crate::observer::Doubt;

/// The enlargement above which an image lacks what the network was trained on.
const MOST_ENLARGED: f64 = 2.5;
/// The change of proportions above which an image is distorted: 16:9 to a square is no more.
const MOST_DISTORTED: f64 = 1.8;
/// The divisor from which values of 0..1 become constant.
const BYTE_SCALE: f32 = 100.0;
/// The largest value from which values are not those of 0..1, with room for noise.
const ABOVE_ONE: f32 = 2.0;
/// The least number of grey images that are no chance.
const LEAST_GREY: usize = 4;

/// Returns the doubts about a recipe for images; none for other data.
pub(super) fn doubts(preprocessor: &Preprocessor, options: &DataOptions, survey: &Survey) -> Vec<Doubt> {
    let SampleKind::Images(kind) = &survey.kind else { return vec![] };
    if kind.count == 0 {
        return vec![];
    }
    let recipe = &preprocessor.recipe;
    let mut doubts = Vec::new();
    doubts.extend(preprocessor.has_guessed_layout().then_some(Doubt::GuessedLayout));
    doubts.extend(enlarged(recipe, kind));
    doubts.extend(distorted(recipe, kind));
    doubts.extend(values(recipe, kind));
    doubts.extend(colours(recipe, kind, options));
    doubts
}

fn sides(size: Size) -> [usize; 2] {
    [size.height, size.width]
}

fn resized(recipe: &Preprocessing, size: Size) -> Size {
    match (recipe.resize, recipe.letterbox) {
        (Some(ResizeTo::Exact(to)), Some(_)) => Letterbox::new(size, to).inner,
        (Some(ResizeTo::Exact(to)), None) => to,
        (Some(ResizeTo::Shorter(side)), _) => shorter_to(side, size),
        (None, _) => size,
    }
}

/// Finds images that have the network's size and are enlarged and cropped, and images that are far too small.
fn enlarged(recipe: &Preprocessing, kind: &ImageKind) -> Option<Doubt> {
    let first = *kind.sizes.first()?;
    let to = resized(recipe, first);
    if kind.sizes.len() == 1 && recipe.crop == Some(first) && to != first {
        return Some(Doubt::EnlargedAndCropped { size: sides(first), enlarged: sides(to) });
    }
    let by = |&size: &Size| {
        let to = resized(recipe, size);
        (to.height as f64 / size.height as f64).min(to.width as f64 / size.width as f64)
    };
    let all = kind.sizes.iter().all(|size| by(size) > MOST_ENLARGED);
    all.then(|| Doubt::Enlarged { size: sides(first), enlarged: sides(to) })
}

fn distorted(recipe: &Preprocessing, kind: &ImageKind) -> Option<Doubt> {
    let (Some(ResizeTo::Exact(to)), None) = (recipe.resize, recipe.letterbox) else { return None };
    let by = |&size: &Size| {
        let by = (to.width * size.height) as f64 / (to.height * size.width) as f64;
        by.max(1.0 / by)
    };
    let all = kind.sizes.iter().all(|size| by(size) > MOST_DISTORTED);
    all.then(|| Doubt::Distorted { size: sides(kind.sizes[0]), to: sides(to) })
}

/// Finds values whose range does not fit the arithmetic of the recipe.
fn values(recipe: &Preprocessing, kind: &ImageKind) -> Option<Doubt> {
    let [low, high] = kind.range;
    let changes =
        recipe.scale != 1.0 || recipe.mean.iter().any(|&m| m != 0.0) || recipe.std.iter().any(|&s| s != 1.0);
    let most = |values: &[f32]| values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    // A negative mean is meant for values that begin below 0.
    if kind.is_float && low < 0.0 && changes && recipe.mean.iter().all(|&mean| mean >= 0.0) {
        return Some(Doubt::NormalizedAlready { low, high });
    }
    if high > 0.0 && high <= 1.0 && low >= 0.0 && recipe.scale >= BYTE_SCALE {
        return Some(Doubt::UnitValues { high, scale: recipe.scale });
    }
    let of_unit_values = most(&recipe.mean) <= 1.0 && most(&recipe.std) <= 1.0;
    let normalizes = recipe.mean.iter().any(|&m| m != 0.0) || recipe.std.iter().any(|&s| s != 1.0);
    let is_unscaled = recipe.scale == 1.0 && high > ABOVE_ONE;
    (is_unscaled && of_unit_values && normalizes).then_some(Doubt::ByteValues { high })
}

fn colours(recipe: &Preprocessing, kind: &ImageKind, options: &DataOptions) -> Option<Doubt> {
    if recipe.channels == 3 && kind.is_grey() && kind.count >= LEAST_GREY {
        return Some(Doubt::GreyImages { images: kind.count });
    }
    // Other networks of one channel may well take the luma of colour images.
    let coloured = options.preset == Some(Preset::Mnist) && recipe.channels == 1 && kind.grey == 0;
    coloured.then_some(Doubt::ColourImages { images: kind.count })
}
