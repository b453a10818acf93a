//! The answers of two classifiers, image by image: right ones by class, and those that changed.

use std::collections::BTreeMap;

/// Right answers by class, and images whose answer changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Right answers of both networks by the class of the label; empty without labels.
    pub classes: BTreeMap<u32, ClassAnswers>,
    /// Images whose answers differ, in the order of the data set.
    pub changed: Vec<ChangedAnswer>,
}

/// Right answers for the images of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassAnswers {
    /// Number of images of the class.
    pub images: usize,
    /// Number of right answers of the reference network.
    pub before: usize,
    /// Number of right answers of the network.
    pub after: usize,
}

/// An image whose answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedAnswer {
    /// Place of the image in a pass over the data set.
    pub place: usize,
    /// Class of its label, if it has one.
    pub label: Option<u32>,
    /// Class that the reference network answers; `None` for NaN.
    pub before: Option<usize>,
    /// Class that the network answers; `None` for NaN.
    pub after: Option<usize>,
}

impl ChangedAnswer {
    /// Returns whether the reference network was right and the network is wrong.
    pub fn is_lost(&self) -> bool {
        self.is_right(self.before) && !self.is_right(self.after)
    }

    /// Returns whether the reference network was wrong and the network is right.
    pub fn is_won(&self) -> bool {
        self.is_right(self.after) && !self.is_right(self.before)
    }

    fn is_right(&self, answer: Option<usize>) -> bool {
        self.label.is_some() && answer == self.label.map(|label| label as usize)
    }
}

impl Answers {
    /// Adds an image by the classes that the reference network and the network answer.
    pub fn add(&mut self, place: usize, label: Option<u32>, [before, after]: [Option<usize>; 2]) {
        if let Some(label) = label {
            let of = self.classes.entry(label).or_default();
            let right = |answer: Option<usize>| usize::from(answer == Some(label as usize));
            of.images += 1;
            of.before += right(before);
            of.after += right(after);
        }
        // A NaN is never the same answer.
        if before != after || after.is_none() {
            self.changed.push(ChangedAnswer { place, label, before, after });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class() {
        let mut all = Answers::default();
        all.add(0, Some(3), [Some(3), Some(3)]);
        all.add(1, Some(3), [Some(3), Some(5)]);
        all.add(4, Some(5), [Some(3), Some(5)]);
        all.add(5, Some(5), [Some(3), None]);
        all.add(6, None, [Some(1), Some(2)]);
        assert_eq!(all.classes[&3], ClassAnswers { images: 2, before: 2, after: 1 });
        assert_eq!(all.classes[&5], ClassAnswers { images: 2, before: 0, after: 1 });
        let [lost, won, neither, unlabelled] = all.changed[..] else { panic!("{:?}", all.changed) };
        assert!(lost.is_lost() && !lost.is_won() && lost.place == 1);
        assert!(won.is_won() && !won.is_lost());
        assert!(!neither.is_lost() && !neither.is_won());
        all.add(7, None, [None, None]);
        assert_eq!(all.changed.len(), 5, "NaN is no answer");
        assert!(!unlabelled.is_lost() && !unlabelled.is_won(), "no label, neither right nor wrong");
    }
}
