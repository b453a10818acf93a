//! Letterbox: an image within a larger one of fixed size, at its own proportions.

use super::recipe::Size;

/// The place of a resized image within a padded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letterbox {
    /// The size of the resized image.
    pub(super) inner: Size,
    /// Rows of padding above the image.
    pub(super) top: usize,
    /// Columns of padding to the left of the image.
    pub(super) left: usize,
}

impl Letterbox {
    /// Fits an image into the size `to`, as Ultralytics' `LetterBox` with `auto=False` and `center=True` does.
    ///
    /// With r = min(to.height / height, to.width / width), both sides are multiplied by r and rounded, halves to even.
    /// An odd margin has its larger half below and to the right.
    pub(super) fn new(image: Size, to: Size) -> Self {
        let ratio = |to: usize, side: usize| to as f64 / side.max(1) as f64;
        let by = ratio(to.height, image.height).min(ratio(to.width, image.width));
        let side =
            |side: usize, to: usize| ((side as f64 * by).round_ties_even() as usize).clamp(1, to.max(1));
        let inner = Size { height: side(image.height, to.height), width: side(image.width, to.width) };
        let margin = |to: usize, side: usize| to.saturating_sub(side) / 2;
        Self { inner, top: margin(to.height, inner.height), left: margin(to.width, inner.width) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(image: (usize, usize), to: (usize, usize)) -> (usize, usize, usize, usize) {
        let size = |(height, width)| Size { height, width };
        let Letterbox { inner, top, left } = Letterbox::new(size(image), size(to));
        (inner.height, inner.width, top, left)
    }

    #[test]
    fn sides_and_margins_are_those_of_ultralytics() {
        // Computed in Python: r = min(h/H, w/W), round(H*r), round(W*r), round((h - inner)/2 - 0.1).
        assert_eq!(place((480, 640), (640, 640)), (480, 640, 80, 0));
        assert_eq!(place((375, 500), (640, 640)), (480, 640, 80, 0));
        assert_eq!(place((500, 333), (640, 640)), (640, 426, 0, 107));
        assert_eq!(place((333, 500), (416, 416)), (277, 416, 69, 0), "an odd margin: 69 above, 70 below");
        assert_eq!(place((5, 2), (5, 5)), (5, 2, 0, 1));
        assert_eq!(place((4, 6), (3, 3)), (2, 3, 0, 0), "enlarged or reduced");
        assert_eq!(place((10, 5), (5, 9)), (5, 2, 0, 3), "2.5 is rounded to even");
        // Ultralytics fails for this one.
        assert_eq!(place((1000, 1), (8, 8)), (8, 1, 0, 3), "no side vanishes");
    }
}
