//! The predictions of two classifiers, image by image: right ones by class, and those that changed.

use std::collections::BTreeMap;

/// Right predictions by class, and images whose prediction changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions {
    /// Right predictions of both networks by the class of the label; empty without labels.
    pub classes: BTreeMap<u32, ClassHits>,
    /// Images whose predictions differ, in the order of the data set.
    pub changed: Vec<ChangedPrediction>,
}

/// Right predictions for the images of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassHits {
    /// Number of images of the class.
    pub images: usize,
    /// Number of right predictions of the reference network.
    pub before: usize,
    /// Number of right predictions of the network.
    pub after: usize,
}

/// An image whose predictions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedPrediction {
    /// Place of the image in a pass over the data set.
    pub place: usize,
    /// Class of its label, if it has one.
    pub label: Option<u32>,
    /// Class that the reference network predicts; `None` for NaN.
    pub before: Option<usize>,
    /// Class that the network predicts; `None` for NaN.
    pub after: Option<usize>,
}

impl ChangedPrediction {
    /// Returns whether the reference network was right and the network is wrong.
    pub fn is_lost(&self) -> bool {
        self.is_right(self.before) && !self.is_right(self.after)
    }

    /// Returns whether the reference network was wrong and the network is right.
    pub fn is_won(&self) -> bool {
        self.is_right(self.after) && !self.is_right(self.before)
    }

    fn is_right(&self, prediction: Option<usize>) -> bool {
        self.label.is_some() && prediction == self.label.map(|label| label as usize)
    }
}

impl Predictions {
    /// Adds an image by the classes that the reference network and the network prediction.
    pub fn add(&mut self, place: usize, label: Option<u32>, [before, after]: [Option<usize>; 2]) {
        if let Some(label) = label {
            let of = self.classes.entry(label).or_default();
            let right = |prediction: Option<usize>| usize::from(prediction == Some(label as usize));
            of.images += 1;
            of.before += right(before);
            of.after += right(after);
        }
        // A NaN is never the same prediction.
        if before != after || after.is_none() {
            self.changed.push(ChangedPrediction { place, label, before, after });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_counted_by_class() {
        let mut all = Predictions::default();
        all.add(0, Some(3), [Some(3), Some(3)]);
        all.add(1, Some(3), [Some(3), Some(5)]);
        all.add(4, Some(5), [Some(3), Some(5)]);
        all.add(5, Some(5), [Some(3), None]);
        all.add(6, None, [Some(1), Some(2)]);
        assert_eq!(all.classes[&3], ClassHits { images: 2, before: 2, after: 1 });
        assert_eq!(all.classes[&5], ClassHits { images: 2, before: 0, after: 1 });
        let [lost, won, neither, unlabelled] = all.changed[..] else { panic!("{:?}", all.changed) };
        assert!(lost.is_lost() && !lost.is_won() && lost.place == 1);
        assert!(won.is_won() && !won.is_lost());
        assert!(!neither.is_lost() && !neither.is_won());
        all.add(7, None, [None, None]);
        assert_eq!(all.changed.len(), 5, "NaN is no prediction");
        assert!(!unlabelled.is_lost() && !unlabelled.is_won(), "no label, neither right nor wrong");
    }
}
