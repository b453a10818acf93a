//! Running tasks of the program, numbered, with rates and estimates of the time that is left.

use std::time::{Duration, Instant};

use super::numbers::{many, three_digits};

/// The unit of tasks that last a given time: a tenth of a second.
pub(super) const TENTH: &str = "tenth";

/// A task with a title and units that are counted.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The title, such as `profiling`.
    pub(super) title: String,
    /// The noun of a unit, such as `image`.
    pub(super) unit: &'static str,
    /// Units in all, 0 if unknown.
    pub(super) total: u64,
    pub(super) done: u64,
    pub(super) began: Instant,
    /// Its place among the expected tasks, from 0.
    place: Option<usize>,
    /// True if a line about its begin was written.
    pub(super) told: bool,
}

/// A task that is expected, with its relative duration.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) title: String,
    pub(super) weight: f64,
}

/// Running tasks, the innermost last, and those that are expected.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    running: Vec<Task>,
    expected: Vec<Expected>,
    /// Expected tasks before this one have ended or were left out.
    next: usize,
    /// Seconds and weights of the expected tasks that have ended.
    ended: (f64, f64),
}

impl Activity {
    /// Sets the tasks that are expected from now on.
    pub(super) fn expect(&mut self, expected: Vec<Expected>) {
        (self.expected, self.next, self.ended) = (expected, 0, (0.0, 0.0));
    }

    /// Begins a task within the running one.
    pub(super) fn begin(&mut self, title: &str, (unit, total): (&'static str, u64), now: Instant) {
        let place = match self.running.is_empty() {
            true => {
                self.expected.iter().skip(self.next).position(|e| e.title == title).map(|at| at + self.next)
            }
            false => None,
        };
        self.next = place.unwrap_or(self.next);
        let title = title.to_owned();
        self.running.push(Task { title, unit, total, done: 0, began: now, place, told: false });
    }

    /// Sets the number of units that the innermost task has done.
    pub(super) fn advance(&mut self, done: u64) {
        if let Some(task) = self.running.last_mut() {
            task.done = done;
        }
    }

    /// Ends the innermost task and returns it.
    pub(super) fn end(&mut self, now: Instant) -> Option<Task> {
        let task = self.running.pop()?;
        if let Some(place) = task.place {
            let weight = self.expected.get(place).map_or(0.0, |expected| expected.weight);
            self.ended.0 += (now - task.began).as_secs_f64();
            self.ended.1 += weight;
            self.next = place + 1;
        }
        Some(task)
    }

    pub(super) fn outermost(&mut self) -> Option<&mut Task> {
        self.running.first_mut()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Returns the name of a task with its number: `[2/5] profiling`.
    pub(super) fn name(&self, task: &Task) -> String {
        match task.place {
            Some(place) => format!("[{}/{}] {}", place + 1, self.expected.len(), task.title),
            None => task.title.clone(),
        }
    }

    /// Describes the running tasks with done and total, rate, and the time that is left.
    pub(super) fn text(&self, now: Instant) -> String {
        let Some(outer) = self.running.first() else { return "working".to_owned() };
        let tasks = self.running.iter().map(|task| {
            let name = self.name(task);
            let counts = counts(task, now);
            if counts.is_empty() { name } else { format!("{name}: {counts}") }
        });
        let text = tasks.collect::<Vec<_>>().join("; ");
        match (self.left(now), left(outer, now)) {
            (Some(all), _) => format!("{text}; {} left in all", duration(all)),
            (None, Some(left)) => format!("{text}; {} left", duration(left)),
            (None, None) => format!("{text}, for {}", duration(now - outer.began)),
        }
    }

    /// Returns the share of the operation that is done, from 0 to 1: by time, if tasks are expected.
    pub(super) fn share(&self, now: Instant) -> Option<f64> {
        let outer = self.running.first()?;
        match self.left(now) {
            Some(left) => {
                let spent = self.ended.0 + (now - outer.began).as_secs_f64();
                Some(spent / (spent + left.as_secs_f64()).max(f64::MIN_POSITIVE))
            }
            None => fraction(outer),
        }
    }

    /// Estimates the time until all expected tasks have ended; `None` before anything is known.
    fn left(&self, now: Instant) -> Option<Duration> {
        let outer = self.running.first()?;
        let place = outer.place?;
        let (own, elapsed) = (self.expected[place].weight, (now - outer.began).as_secs_f64());
        let done = fraction(outer).unwrap_or(0.0);
        let weight = self.ended.1 + own * done;
        let pace =
            if weight > 0.0 { (self.ended.0 + if done > 0.0 { elapsed } else { 0.0 }) / weight } else { 0.0 };
        let rest = match left(outer, now) {
            Some(rest) => rest.as_secs_f64(),
            None if pace > 0.0 => (own * pace - elapsed).max(0.0),
            None => return None,
        };
        let later: f64 = self.expected[place + 1..].iter().map(|expected| expected.weight).sum();
        Duration::try_from_secs_f64(rest + later * pace).ok()
    }
}

/// Returns the share of a task that is done, if that is known and not zero.
fn fraction(task: &Task) -> Option<f64> {
    (task.total > 0 && task.done > 0).then(|| (task.done as f64 / task.total as f64).min(1.0))
}

/// Estimates the time until a task ends, from its rate so far.
fn left(task: &Task, now: Instant) -> Option<Duration> {
    let done = fraction(task)?;
    Duration::try_from_secs_f64((now - task.began).as_secs_f64() * (1.0 - done) / done).ok()
}

/// Returns done, total and rate of a task: `640/1000 images, 51.2/s`.
fn counts(task: &Task, now: Instant) -> String {
    if task.total == 0 {
        return String::new();
    }
    if task.unit == TENTH {
        return format!("{:.1}/{:.1} s", 0.1 * task.done as f64, 0.1 * task.total as f64);
    }
    let counted = format!("{}/{}", task.done, many(task.total as usize, task.unit));
    let elapsed = (now - task.began).as_secs_f64();
    if task.done == 0 || elapsed <= 0.0 {
        return counted;
    }
    match task.done as f64 / elapsed {
        rate if rate >= 0.1 => format!("{counted}, {}/s", three_digits(rate)),
        rate => format!("{counted}, {} each", duration(Duration::from_secs_f64(rate.recip()))),
    }
}

/// Formats a duration: `1.23 s`, `2 min 5 s`, `1 h 5 min`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match whole {
        0..60 if seconds < 0.01 => format!("{seconds:.3} s"),
        0..60 => format!("{} s", three_digits(seconds)),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(list: &[(&str, f64)]) -> Vec<Expected> {
        list.iter().map(|&(title, weight)| Expected { title: title.to_owned(), weight }).collect()
    }

    #[test]
    fn the_time_left_counts_all_expected_tasks() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut activity = Activity::default();
        activity.expect(expected(&[("reading", 1.0), ("left out", 9.0), ("fitting", 4.0), ("proving", 2.0)]));
        activity.begin("reading", ("image", 10), start);
        assert_eq!(activity.text(start), "[1/4] reading: 0/10 images, for 0.000 s");
        activity.advance(5);
        // A weight takes 2 s: 1 s of this task and 15 weights are left.
        assert_eq!(activity.text(at(1.0)), "[1/4] reading: 5/10 images, 5.00/s; 31.0 s left in all");
        activity.end(at(2.0));
        activity.begin("fitting", ("layer", 4), at(2.0));
        // 4 + 2 weights of 2 s.
        assert_eq!(activity.text(at(2.0)), "[3/4] fitting: 0/4 layers; 12.0 s left in all");
        activity.begin("inner", ("image", 2), at(2.0));
        activity.advance(1);
        let text = activity.text(at(3.0));
        assert_eq!(text, "[3/4] fitting: 0/4 layers; inner: 1/2 images, 1.00/s; 11.0 s left in all");
        assert!((activity.share(at(3.0)).expect("a share") - 3.0 / 14.0).abs() < 1e-9);
        activity.end(at(3.0));
        activity.advance(4);
        activity.end(at(10.0));
        activity.begin("proving", ("", 0), at(10.0));
        // 5 weights took 10 s.
        assert_eq!(activity.text(at(11.0)), "[4/4] proving; 3.00 s left in all");
    }

    #[test]
    fn tasks_that_nobody_expected_have_no_number() {
        let start = Instant::now();
        let mut activity = Activity::default();
        assert_eq!(activity.text(start), "working");
        activity.begin("loading", ("", 0), start);
        assert_eq!(activity.text(start + Duration::from_secs(75)), "loading, for 1 min 15 s");
        activity.end(start);
        activity.begin("timing", ("network", 2), start);
        activity.advance(1);
        assert_eq!(
            activity.text(start + Duration::from_secs(4)),
            "timing: 1/2 networks, 0.250/s; 4.00 s left"
        );
        let late = activity.text(start + Duration::from_secs(20));
        assert_eq!(late, "timing: 1/2 networks, 20.0 s each; 20.0 s left");
    }
}
