//! Quality of images that networks compute: PSNR and SSIM.

/// Returns the mean squared error of two images of the same size.
pub fn mean_squared_error(reference: &[f32], got: &[f32]) -> f64 {
    let squares = reference.iter().zip(got).map(|(&r, &g)| (f64::from(r) - f64::from(g)).powi(2));
    squares.sum::<f64>() / reference.len().max(1) as f64
}

/// Returns the peak signal-to-noise ratio 10·log₁₀(peak²/mean squared error) in decibels; infinite for equal images.
pub fn psnr_db(mean_squared_error: f64, peak: f64) -> f64 {
    10.0 * (peak * peak / mean_squared_error).log10()
}

/// The side of the window of [`ssim`], which is smaller for smaller images.
const WINDOW: usize = 8;

/// Returns the structural similarity of two images of `planes` planes, −1 to 1 (Wang et al. 2004).
///
/// It is the mean over all 8×8 windows of (2μxμy + C₁)(2σxy + C₂) / ((μx² + μy² + C₁)(σx² + σy² + C₂)), with
/// C₁ = (0.01·peak)² and C₂ = (0.03·peak)². Windows weigh their pixels equally.
pub fn ssim(reference: &[f32], got: &[f32], [planes, height, width]: [usize; 3], peak: f64) -> f64 {
    let (c1, c2) = ((0.01 * peak).powi(2), (0.03 * peak).powi(2));
    let (rows, columns) = (WINDOW.min(height), WINDOW.min(width));
    let pixels = (rows * columns) as f64;
    let (mut sum, mut windows) = (0.0, 0u64);
    for plane in 0..planes {
        let range = plane * height * width..(plane + 1) * height * width;
        let pair = (&reference[range.clone()], &got[range]);
        let tables = integral_images(pair, width);
        let within = |table: &[f64], y: usize, x: usize| {
            let at = |y: usize, x: usize| table[y * (width + 1) + x];
            at(y + rows, x + columns) - at(y, x + columns) - at(y + rows, x) + at(y, x)
        };
        for y in 0..=height - rows {
            for x in 0..=width - columns {
                let [sx, sy, sxx, syy, sxy] = tables.each_ref().map(|table| within(table, y, x) / pixels);
                let covariance = sxy - sx * sy;
                let variances = (sxx - sx * sx) + (syy - sy * sy);
                let luminance = (2.0 * sx * sy + c1) / (sx * sx + sy * sy + c1);
                sum += luminance * (2.0 * covariance + c2) / (variances + c2);
                windows += 1;
            }
        }
    }
    sum / windows as f64
}

/// Returns the integral images of x, y, x², y² and x·y, each with a row and column of zeros before it.
fn integral_images((xs, ys): (&[f32], &[f32]), width: usize) -> [Vec<f64>; 5] {
    let height = xs.len() / width.max(1);
    let mut tables: [Vec<f64>; 5] = std::array::from_fn(|_| vec![0.0; (height + 1) * (width + 1)]);
    for row in 0..height {
        let mut sums = [0.0; 5];
        for column in 0..width {
            let (x, y) = (f64::from(xs[row * width + column]), f64::from(ys[row * width + column]));
            for ((sum, table), value) in sums.iter_mut().zip(&mut tables).zip([x, y, x * x, y * y, x * y]) {
                *sum += value;
                table[(row + 1) * (width + 1) + column + 1] = *sum + table[row * (width + 1) + column + 1];
            }
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_what_its_formula_says() {
        // A mean squared error of 1/4·(0.1² + 0.3²) = 0.025 at a peak of 1 is 16.02 dB.
        let error = mean_squared_error(&[0.0, 0.5, 0.5, 1.0], &[0.1, 0.5, 0.8, 1.0]);
        assert!((error - 0.025).abs() < 1e-8);
        assert!((psnr_db(error, 1.0) - 16.0206).abs() < 1e-4);
        assert!((psnr_db(error * 255.0 * 255.0, 255.0) - 16.0206).abs() < 1e-4, "independent of scale");
        assert_eq!(psnr_db(0.0, 1.0), f64::INFINITY);
    }

    #[test]
    fn ssim_of_one_window_is_what_its_formula_says() {
        // Means 2 and 2, variances 1 and 4, covariance 2: luminance 1, (2·2 + C₂)/(5 + C₂).
        let (x, y) = ([1.0, 3.0, 1.0, 3.0], [0.0, 4.0, 0.0, 4.0]);
        let c2 = (0.03f64 * 4.0).powi(2);
        let found = ssim(&x, &y, [1, 2, 2], 4.0);
        assert!((found - (4.0 + c2) / (5.0 + c2)).abs() < 1e-12, "{found}");
    }

    #[test]
    fn ssim_is_one_for_equal_images_and_averages_windows() {
        let image: Vec<f32> = (0..2 * 12 * 10).map(|i| (i * 37 % 101) as f32).collect();
        assert!((ssim(&image, &image, [2, 12, 10], 100.0) - 1.0).abs() < 1e-12);
        // The second plane differs entirely, so the mean lies between.
        let mut other = image.clone();
        other[120..].iter_mut().for_each(|v| *v = 100.0 - *v);
        let found = ssim(&image, &other, [2, 12, 10], 100.0);
        let second = ssim(&image[120..], &other[120..], [1, 12, 10], 100.0);
        assert!(second < 0.0 && (found - (1.0 + second) / 2.0).abs() < 1e-12, "{found} {second}");
    }
}
