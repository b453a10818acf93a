//! The description of a preprocessing in one line.

use super::recipe::{ChannelOrder, Layout, Preprocessing, ResizeTo, Size};
use super::survey::{ImageKind, SampleKind, Survey};

impl Preprocessing {
    /// Describes the steps in one line: `32×32 u8 RGB → shorter side 37 → crop 32×32 → ÷255 → NCHW f32 [0, 1]`.
    ///
    /// Sizes are height × width. The survey of a data set adds the stored samples and the measured range of the
    /// network's input. Then steps are left out that change none of the images.
    pub fn describe(&self, survey: Option<&Survey>) -> String {
        let kind = survey.map(|survey| &survey.kind);
        let mut steps = Vec::new();
        match kind {
            Some(SampleKind::Images(kind)) => {
                steps.push(stored(kind));
                steps.extend(self.colours(kind));
            }
            Some(SampleKind::Arrays(elements)) => steps.push(format!("{} arrays", elements.join(" and "))),
            Some(SampleKind::Recordings(rates)) => steps.push(recorded(*rates)),
            Some(SampleKind::Random) => steps.push("random numbers".to_owned()),
            None if self.rate.is_some() => steps.push("recordings".to_owned()),
            None => {}
        }
        let read = steps.len();
        match kind {
            Some(SampleKind::Images(kind)) => steps.extend(self.geometry(Some(kind))),
            _ => steps.extend(self.geometry(None)),
        }
        if self.order == ChannelOrder::Bgr {
            steps.push("BGR".to_owned());
        }
        let resampled = self.rate.filter(
            |&rate| !matches!(kind, Some(SampleKind::Recordings(Some(rates))) if *rates == [rate, rate]),
        );
        steps.extend(resampled.map(|rate| format!("{rate} Hz")));
        steps.extend(self.length.map(|length| format!("{length} samples")));
        steps.extend(self.arithmetic());
        if steps.len() == read && !matches!(kind, Some(SampleKind::Random)) {
            steps.push("as they are".to_owned());
        }
        steps.push(self.output(survey));
        steps.join(" → ")
    }

    /// Returns the conversion between grey and colour.
    fn colours(&self, kind: &ImageKind) -> Option<String> {
        match self.channels {
            1 if kind.channels.contains(&3) => Some("grey".to_owned()),
            3 if kind.channels.contains(&1) => Some("3 equal channels".to_owned()),
            _ => None,
        }
    }

    /// Returns the resize and the crop.
    fn geometry(&self, kind: Option<&ImageKind>) -> Vec<String> {
        let mut steps = Vec::new();
        let known = kind.filter(|kind| kind.one_size);
        let mut size = known.and_then(|kind| kind.sizes.first().copied());
        if let Some(resize) = self.resize {
            let resized = match (resize, size) {
                (ResizeTo::Exact(to), _) => Some(to),
                (ResizeTo::Shorter(side), Some(size)) => Some(super::picture::shorter_to(side, size)),
                (ResizeTo::Shorter(_), None) => None,
            };
            if size.is_none() || resized != size {
                steps.push(match resize {
                    ResizeTo::Exact(to) => match self.letterbox {
                        Some(value) => format!("fit into {}, padded with {value}", show(to)),
                        None => format!("resize {}", show(to)),
                    },
                    ResizeTo::Shorter(side) => format!("shorter side {side}"),
                });
            }
            size = resized;
        }
        if let Some(crop) = self.crop.filter(|&crop| size != Some(crop)) {
            steps.push(if crop.height == crop.width {
                format!("crop {}", crop.height)
            } else {
                format!("crop {}", show(crop))
            });
        }
        steps
    }

    /// Returns the division, the subtraction of means, and the division by standard deviations.
    fn arithmetic(&self) -> Vec<String> {
        let one = |values: &[f32]| values.iter().all(|v| *v == values[0]).then(|| values[0]);
        let step = |sign: &str, values: &[f32], neutral: f32, word: &str| match one(values) {
            Some(value) if value == neutral => None,
            Some(value) => Some(format!("{sign}{}", number(value))),
            None => Some(format!("{sign}{word}")),
        };
        let scale = step("÷", &[self.scale], 1.0, "scale");
        let mean = match one(&self.mean) {
            Some(mean) if mean < 0.0 => Some(format!("+{}", number(-mean))),
            _ => step("−", &self.mean, 0.0, "mean"),
        };
        [scale, mean, step("÷", &self.std, 1.0, "std")].into_iter().flatten().collect()
    }

    /// Returns the network's input.
    fn output(&self, survey: Option<&Survey>) -> String {
        let layout = match self.layout {
            Layout::Nchw => "NCHW",
            Layout::Nhwc => "NHWC",
        };
        let is_images = |survey: &Survey| matches!(survey.kind, SampleKind::Images(_));
        let shape = match survey {
            Some(survey) if is_images(survey) => layout.to_owned(),
            Some(survey) => survey.shape.to_string(),
            None if self.rate.is_some() => String::new(),
            None => layout.to_owned(),
        };
        let range = survey.and_then(|survey| survey.range);
        let range =
            range.map_or_else(String::new, |[low, high]| format!(" [{}, {}]", number(low), number(high)));
        format!("{shape} f32{range}").trim_start().to_owned()
    }
}

/// Describes images as they are stored.
fn stored(kind: &ImageKind) -> String {
    let sizes = match kind.sizes.as_slice() {
        [] => "images,".to_owned(),
        [one] if kind.one_size => show(*one),
        [one] => format!("images of {},", show(*one)),
        [first, .., last] => format!("images of {} to {},", show(*first), show(*last)),
    };
    let channels: Vec<String> = kind.channels.iter().map(|&channels| colours(channels)).collect();
    format!("{sizes} {} {}", kind.element, channels.join(" and ")).trim_end().to_owned()
}

fn colours(channels: usize) -> String {
    match channels {
        1 => "grey".to_owned(),
        3 => "RGB".to_owned(),
        n => format!("of {n} channels"),
    }
}

fn recorded(rates: Option<[u32; 2]>) -> String {
    match rates {
        Some([low, high]) if low == high => format!("recordings of {low} Hz"),
        Some([low, high]) => format!("recordings of {low} to {high} Hz"),
        None => "recordings".to_owned(),
    }
}

fn show(size: Size) -> String {
    format!("{}×{}", size.height, size.width)
}

/// Formats a number with three significant digits, without trailing zeros, and with a minus sign.
fn number(value: f32) -> String {
    let size = value.abs();
    let text = if size != 0.0 && !(1e-3..1e6).contains(&size) {
        format!("{size:.1e}")
    } else {
        let digits = (2.0 - size.max(1e-3).log10().floor()).max(0.0) as usize;
        let text = format!("{size:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    if value < 0.0 && text != "0" { format!("−{text}") } else { text }
}
