//! Gradients of images in a profile: batches of them are added, and kept if other statistics are gathered anew.

use super::gates::{GATE_BATCH, GateSums, GradientHeader};
use super::profile::{LayerProfile, Profile};

/// The gradients of an image by layer, one number for each channel; `None` if no gradient reaches the layer.
pub type ImageGates = Vec<Option<Vec<f32>>>;

impl Profile {
    /// Adds the gradients of images: of a whole batch, or of images that are left at the end of a pass.
    ///
    /// Images that are left count as a batch if there is no other.
    pub(crate) fn add_gates(&mut self, images: &[ImageGates]) {
        let Some(header) = self.header.gradients.as_mut().filter(|_| !images.is_empty()) else { return };
        let is_batch = images.len() == GATE_BATCH || header.batches == 0;
        header.images += images.len() as u64;
        header.batches += u64::from(is_batch);
        for (at, layer) in self.layers.iter_mut().enumerate() {
            let rows: Option<Vec<&[f32]>> = images.iter().map(|image| image.get(at)?.as_deref()).collect();
            if let Some(rows) = rows {
                layer.gates.add(&rows, is_batch);
            }
        }
    }

    /// Returns the gradients alone.
    pub(crate) fn gradients(&self) -> (Option<GradientHeader>, Vec<GateSums>) {
        (self.header.gradients.clone(), self.layers.iter().map(|layer| layer.gates.clone()).collect())
    }

    /// Replaces the gradients, which are incomplete if they are of fewer images.
    pub(crate) fn set_gradients(&mut self, (header, sums): (Option<GradientHeader>, Vec<GateSums>)) {
        let position = self.header.position;
        self.header.gradients = header.map(|header| GradientHeader {
            complete: header.complete && header.position >= position,
            ..header
        });
        let of = |(layer, sums): (&mut LayerProfile, GateSums)| layer.gates = sums;
        self.layers.iter_mut().zip(sums).for_each(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{GateLoss, Header};

    fn profile() -> Profile {
        let mut profile = Profile::new(Header::default(), vec![LayerProfile::default(); 2]);
        profile.header.gradients = Some(GradientHeader::new(GateLoss::Outputs, vec![]));
        profile
    }

    /// An image whose second layer is not reached.
    fn image(g: [f32; 2]) -> ImageGates {
        vec![Some(g.to_vec()), None]
    }

    #[test]
    fn sums_by_hand() {
        let mut profile = profile();
        profile.add_gates(&[image([1.0, 2.0]), image([-3.0, 0.0])]);
        let gates = &profile.layers[0].gates;
        assert_eq!(gates.squares, [10.0, 4.0]);
        assert_eq!(gates.batch_squares, [1.0, 1.0], "few images are a batch");
        // ½·{1, 9}: mean 2.5, sample variance 8, error √(8/2).
        let fisher = gates.fisher(2);
        assert!((fisher[0].0 - 2.5).abs() < 1e-12 && (fisher[0].1 - 2.0).abs() < 1e-12, "{fisher:?}");
        assert!(profile.layers[1].gates.squares.is_empty());
        let header = profile.header.gradients.as_ref().expect("gradients");
        assert_eq!((header.images, header.batches), (2, 1));
    }

    #[test]
    fn images_that_fill_no_batch_count_as_images_only() {
        let mut profile = profile();
        profile.add_gates(&vec![image([2.0, 0.0]); GATE_BATCH]);
        profile.add_gates(&[image([4.0, 1.0])]);
        let gates = &profile.layers[0].gates;
        assert_eq!(gates.batch_squares, [4.0, 0.0]);
        assert_eq!(gates.squares, [4.0 * GATE_BATCH as f64 + 16.0, 1.0]);
        let header = profile.header.gradients.as_ref().expect("gradients");
        assert_eq!((header.images, header.batches), (GATE_BATCH as u64 + 1, 1));
        assert_eq!(gates.taylor(1)[0].0, 4.0);
    }

    #[test]
    fn errors_of_batches_by_hand() {
        let mut profile = profile();
        for g in [1.0, 2.0, 3.0] {
            profile.add_gates(&vec![image([g, 0.0]); GATE_BATCH]);
        }
        // {1, 4, 9}: mean 14/3, sample variance 49/3, error √(49/9).
        let taylor = profile.layers[0].gates.taylor(3)[0];
        assert!((taylor.0 - 14.0 / 3.0).abs() < 1e-12 && (taylor.1 - 7.0 / 3.0).abs() < 1e-12, "{taylor:?}");
    }
}
