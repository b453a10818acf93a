//! `--shard auto`: the part of the data that a scheduler's numbering of tasks gives to this one.

use crate::error::{Error, Result};

/// The variable with which Kubernetes numbers the pods of an Indexed Job, from 0.
const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
/// The variable with which Slurm numbers the tasks of a job array.
const SLURM: &str = "SLURM_ARRAY_TASK_ID";
/// The least and the largest number of an array, the step between numbers, and how many there are.
const SLURM_ARRAY: [&str; 4] =
    ["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT"];

/// Replaces `auto` and `auto/N` by the part `K/N` of this task; other texts stay as they are.
///
/// `auto` is the place in a job array of Slurm, which says how many tasks there are. `auto/N` is the number of the task,
/// counted from 0, so that single tasks can be run again.
///
/// # Errors
/// No scheduler or two of them, a number of tasks that is unknown, a number beyond it, an array with gaps.
pub(super) fn resolved(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let count = match text.strip_prefix("auto") {
        Some("") => None,
        Some(rest) => match rest.strip_prefix('/').and_then(|count| count.parse().ok()) {
            Some(count) if count > 0 => Some(count),
            _ => {
                return Err(Error::new("not a shard")
                    .expected("auto, or auto/N with N from 1")
                    .got(format!("\"{text}\""))
                    .remedy("for example auto/8"));
            }
        },
        None => return Ok(text.to_owned()),
    };
    let number = |name: &str| -> Result<Option<usize>> {
        let Some(value) = variable(name) else { return Ok(None) };
        let wrong = |_| {
            Error::new(format!("{name} is no number of a task"))
                .expected("a whole number from 0")
                .got(format!("\"{value}\""))
                .remedy("set `shard` to K/N")
        };
        value.trim().parse().map(Some).map_err(wrong)
    };
    let (index, count) = match (number(KUBERNETES)?, number(SLURM)?, count) {
        (None, None, _) => {
            return Err(Error::new("no scheduler has numbered this task")
                .expected(format!(
                    "{KUBERNETES} of a Kubernetes Indexed Job, or {SLURM} of a Slurm job array"
                ))
                .remedy("run it as a task of one of these, or set `shard` to K/N"));
        }
        (Some(_), Some(_), _) => {
            return Err(Error::new("two schedulers have numbered this task")
                .got(format!("{KUBERNETES} and {SLURM}"))
                .remedy("set `shard` to K/N, or unset one of the variables"));
        }
        (Some(index), None, Some(count)) | (None, Some(index), Some(count)) => (index, count),
        (Some(_), None, None) => {
            return Err(Error::new(
                "the number of shards is unknown: Kubernetes numbers a task, but does not count them",
            )
            .remedy("set `shard` to auto/N, with the job's completions as N"));
        }
        (None, Some(id), None) => within_array(id, SLURM_ARRAY.map(number))?,
    };
    if index >= count {
        return Err(Error::new("the number of this task is beyond the number of shards")
            .expected(format!("a number from 0 to {}", count - 1))
            .got(index.to_string())
            .remedy("number the tasks from 0, or raise N of auto/N"));
    }
    Ok(format!("{}/{count}", index + 1))
}

/// Returns the place of a task in a Slurm array, from 0, and the number of tasks.
fn within_array(id: usize, array: [Result<Option<usize>>; 4]) -> Result<(usize, usize)> {
    let [first, last, step, count] = array;
    let (first, last, step, count) = (first?, last?, step?.unwrap_or(1).max(1), count?);
    let (Some(first), Some(last), Some(count)) = (first, last, count) else {
        return Err(Error::new(
            "the number of shards is unknown: Slurm's variables of the array are incomplete",
        )
        .expected(SLURM_ARRAY.join(", "))
        .remedy("set `shard` to auto/N, with N as the number of tasks"));
    };
    // With gaps, the places of the other tasks are unknown.
    let is_even = last >= first && (last - first) / step + 1 == count;
    if !is_even || id < first || !(id - first).is_multiple_of(step) {
        return Err(Error::new("the numbers of the array have gaps, so the place of this task is unknown")
            .expected(format!("{count} numbers from {first} to {last} in steps of {step}"))
            .got(format!("task {id}"))
            .remedy("submit an array from 0 to N - 1 (--array=0-7), or set `shard` to auto/N to run some of its tasks"));
    }
    Ok(((id - first) / step, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(text: &str, variables: &[(&str, &str)]) -> Result<String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        resolved(text, &find)
    }

    fn array(id: &str, [first, last, step, count]: [&str; 4]) -> Result<String> {
        let values = [first, last, step, count];
        let all: Vec<_> = SLURM_ARRAY.into_iter().zip(values).chain([(SLURM, id)]).collect();
        shard("auto", &all)
    }

    #[test]
    fn a_shard_is_the_place_among_the_tasks() {
        assert_eq!(shard("2/8", &[(SLURM, "5")]).unwrap(), "2/8");
        assert_eq!(shard("auto/8", &[(KUBERNETES, "0")]).unwrap(), "1/8");
        assert_eq!(shard("auto/8", &[(SLURM, "7")]).unwrap(), "8/8");
        assert_eq!(array("3", ["0", "7", "1", "8"]).unwrap(), "4/8");
        assert_eq!(array("3", ["1", "4", "1", "4"]).unwrap(), "3/4");
        assert_eq!(array("14", ["10", "16", "2", "4"]).unwrap(), "3/4");
        // The last step of --array=0-7:2 ends before the largest number that was written.
        assert_eq!(array("6", ["0", "6", "2", "4"]).unwrap(), "4/4");
    }

    #[test]
    fn unknown_places_are_refused() {
        for (text, variables) in [
            ("auto", &[][..]),
            ("auto/8", &[][..]),
            ("auto", &[(KUBERNETES, "0")][..]),
            ("auto", &[(SLURM, "0")][..]),
            ("auto/8", &[(KUBERNETES, "8")][..]),
            ("auto/8", &[(KUBERNETES, "one")][..]),
            ("auto/8", &[(KUBERNETES, "1"), (SLURM, "1")][..]),
            ("auto/0", &[(KUBERNETES, "0")][..]),
            ("automatic", &[(KUBERNETES, "0")][..]),
        ] {
            assert!(shard(text, variables).is_err(), "{text} {variables:?}");
        }
        for (id, [first, last, step, count]) in
            [("3", ["1", "7", "1", "3"]), ("9", ["10", "16", "2", "4"]), ("11", ["10", "16", "2", "4"])]
        {
            assert!(array(id, [first, last, step, count]).is_err(), "{id}");
        }
    }
}
