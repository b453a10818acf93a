//! Profile files: safetensors with a JSON header; docs/profile.md describes the columns.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::activity::DERIVED;
use super::histogram::BINS;
use super::image_variation::{FEATURES, PAIRS};
use super::profile::{Header, LayerProfile, Profile, VERSION};
use super::{
    Activity, GateSums, GradientTrajectory, GramMatrix, Histogram, ImageVariation, Moments, Trajectory,
    ValueHistogram, WeightStats,
};
use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::kernels::moments::value_bins;

/// The metadata entry that contains the header.
const HEADER: &str = "secateur";

/// A tensor to be written.
struct FileTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects the tensors of a file.
#[derive(Default)]
struct Writer(Vec<FileTensor>);

macro_rules! put {
    ($name:ident, $kind:ty, $dtype:ident) => {
        fn $name(&mut self, name: String, shape: &[usize], values: impl Iterator<Item = $kind>) {
            let bytes = values.flat_map(|v| v.to_le_bytes()).collect();
            self.0.push(FileTensor { name, dtype: Dtype::$dtype, shape: shape.to_vec(), bytes });
        }
    };
}

impl Writer {
    put!(floats, f64, F64);
    put!(counts, u32, U32);
    put!(wide, i64, I64);
    put!(exponents, i32, I32);
    put!(images, u64, U64);

    fn vector(&mut self, name: String, values: &[f64]) {
        self.floats(name, &[values.len()], values.iter().copied());
    }

    fn histogram(&mut self, i: usize, histogram: &ValueHistogram) {
        let (name, n) = (|column: &str| format!("values/{i}/{column}"), histogram.bins.len());
        self.exponents(name("bins"), &[n], histogram.bins.keys().copied());
        self.images(name("counts"), &[n], histogram.bins.values().copied());
        let others = [histogram.nan, histogram.infinite[0], histogram.infinite[1]];
        self.images(name("not_finite"), &[3], others.into_iter());
        let extremes = [histogram.positive, histogram.negative].map(Option::unwrap_or_default);
        self.floats(name("extremes"), &[2, 2], extremes.into_iter().flatten().map(f64::from));
    }

    fn rows(&mut self, name: String, rows: &[Vec<f64>]) {
        let width = rows.first().map_or(0, Vec::len);
        self.floats(name, &[rows.len(), width], rows.iter().flatten().copied());
    }
}

/// A statistic of [`Moments`] with a column of its own.
type Getter = fn(&Moments) -> f64;
const MOMENTS: [(&str, Getter); 9] = [
    ("count", |m| m.count),
    ("mean", |m| m.mean),
    ("m2", |m| m.m2),
    ("m3", |m| m.m3),
    ("m4", |m| m.m4),
    ("sum_abs", |m| m.sum_abs),
    ("positive", |m| m.positive),
    ("min", |m| m.min),
    ("max", |m| m.max),
];

fn put_side(writer: &mut Writer, name: &dyn Fn(&str) -> String, side: &[Activity]) {
    let n = side.len();
    for (column, get) in MOMENTS {
        writer.floats(name(column), &[n], side.iter().map(|a| get(&a.moments)));
    }
    writer.floats(name("spread/images"), &[n], side.iter().map(|a| a.spread.images));
    writer.floats(name("spread/mean"), &[n, FEATURES], side.iter().flat_map(|a| a.spread.mean));
    writer.floats(name("spread/comoments"), &[n, PAIRS], side.iter().flat_map(|a| a.spread.comoments));
    writer.exponents(name("histogram/exponent"), &[n], side.iter().map(|a| a.means.exponent));
    writer.wide(name("histogram/first"), &[n], side.iter().map(|a| a.means.first));
    writer.counts(name("histogram/counts"), &[n, BINS], side.iter().flat_map(|a| a.means.counts));
    for (column, get) in DERIVED {
        writer.floats(name(column), &[n], side.iter().map(get));
    }
}

fn columns(profile: &Profile) -> Vec<FileTensor> {
    let mut writer = Writer::default();
    for layer in &profile.layers {
        let node = &layer.node;
        for (name, column) in weights(&layer.weight) {
            writer.vector(format!("{node}/weight/{name}"), column);
        }
        for (side, activities) in [("pre", &layer.pre), ("post", &layer.post)] {
            put_side(&mut writer, &|column| format!("{node}/{side}/{column}"), activities);
        }
        let classes = [profile.classes.len(), layer.post.len()];
        writer.floats(format!("{node}/post/class_sums"), &classes, layer.class_sums.iter().copied());
        if profile.header.gradients.is_some() {
            for (name, column) in layer.gates.columns() {
                writer.vector(format!("{node}/gates/{name}"), column);
            }
        }
        let path = &layer.trajectory;
        for (name, rows) in [("mean", &path.mean), ("variance", &path.variance), ("l1", &path.l1)] {
            writer.rows(format!("{node}/training/{name}"), rows);
        }
        writer.vector(format!("{node}/training/drift"), &path.drift);
        writer.vector(format!("{node}/training/wander"), &path.wander);
        let gradients = &path.gradients;
        for (name, rows) in [
            ("sign_changes", &path.sign_changes),
            ("gradient_mean", &gradients.mean),
            ("gradient_variance", &gradients.variance),
            ("gradient_l1", &gradients.l1),
            ("saliency", &gradients.saliency),
        ] {
            if !rows.is_empty() {
                writer.rows(format!("{node}/training/{name}"), rows);
            }
        }
        if !gradients.movement.is_empty() {
            writer.vector(format!("{node}/training/movement"), &gradients.movement);
        }
    }
    writer.images("classes".to_owned(), &[profile.classes.len()], profile.classes.iter().copied());
    for (i, gram) in profile.grams.iter().enumerate() {
        writer.vector(format!("gram/{i}"), &gram.packed);
    }
    profile.values.iter().enumerate().for_each(|(i, histogram)| writer.histogram(i, histogram));
    writer.0
}

fn weights(w: &WeightStats) -> [(&'static str, &Vec<f64>); 6] {
    [
        ("mean", &w.mean),
        ("variance", &w.variance),
        ("l1", &w.l1),
        ("l2", &w.l2),
        ("distance", &w.distance),
        ("bn_scale", &w.bn_scale),
    ]
}

/// The tensors of a file, with checks of type and size.
struct TensorReader<'a> {
    tensors: SafeTensors<'a>,
    path: &'a Path,
}

macro_rules! take {
    ($name:ident, $kind:ty, $dtype:ident) => {
        fn $name(&self, name: &str) -> Result<Vec<$kind>> {
            let data = self.data(name, Dtype::$dtype)?.chunks_exact(size_of::<$kind>());
            Ok(data.map(|b| <$kind>::from_le_bytes(b.try_into().unwrap_or_default())).collect())
        }
    };
}

impl TensorReader<'_> {
    take!(floats, f64, F64);
    take!(counts, u32, U32);
    take!(wide, i64, I64);
    take!(exponents, i32, I32);
    take!(images, u64, U64);

    fn data(&self, name: &str, dtype: Dtype) -> Result<&[u8]> {
        let view = self.tensors.tensor(name).map_err(|e| bad(self.path, format!("{name}: {e}")))?;
        if view.dtype() == dtype {
            Ok(view.data())
        } else {
            Err(bad(self.path, format!("{name} is not {dtype:?}")))
        }
    }

    /// Returns the column if it has `n` rows of `width` numbers.
    fn of<T>(&self, name: &str, column: Vec<T>, n: usize, width: usize) -> Result<Vec<T>> {
        if Some(column.len()) == n.checked_mul(width) {
            Ok(column)
        } else {
            Err(bad(self.path, format!("{name} has {} numbers, not {n}×{width}", column.len())))
        }
    }

    fn rows(&self, name: &str, width: usize) -> Result<Vec<Vec<f64>>> {
        Ok(self.floats(name)?.chunks(width.max(1)).map(<[f64]>::to_vec).collect())
    }

    fn side(&self, prefix: &str) -> Result<Vec<Activity>> {
        let n = self.floats(&format!("{prefix}/count"))?.len();
        let name = |column: &str| format!("{prefix}/{column}");
        let floats = |column: &str, width| self.of(&name(column), self.floats(&name(column))?, n, width);
        let moments = MOMENTS.iter().map(|(column, _)| floats(column, 1)).collect::<Result<Vec<_>>>()?;
        let images = floats("spread/images", 1)?;
        let (means, comoments) = (floats("spread/mean", FEATURES)?, floats("spread/comoments", PAIRS)?);
        let exponents = name("histogram/exponent");
        let exponents = self.of(&exponents, self.exponents(&exponents)?, n, 1)?;
        let firsts = self.of(&name("histogram/first"), self.wide(&name("histogram/first"))?, n, 1)?;
        let counts = self.of(&name("histogram/counts"), self.counts(&name("histogram/counts"))?, n, BINS)?;
        fn part<const N: usize, T: Copy + Default>(all: &[T], c: usize) -> [T; N] {
            all[c * N..][..N].try_into().unwrap_or([T::default(); N])
        }
        let activity = |c: usize| {
            let [count, mean, m2, m3, m4, sum_abs, positive, min, max] =
                std::array::from_fn(|k| moments[k][c]);
            Activity {
                moments: Moments { count, mean, m2, m3, m4, sum_abs, positive, min, max },
                spread: ImageVariation {
                    images: images[c],
                    mean: part(&means, c),
                    comoments: part(&comoments, c),
                },
                means: Histogram { exponent: exponents[c], first: firsts[c], counts: part(&counts, c) },
            }
        };
        Ok((0..n).map(activity).collect())
    }

    fn histogram(&self, i: usize) -> Result<ValueHistogram> {
        let name = |column: &str| format!("values/{i}/{column}");
        let bins = self.exponents(&name("bins"))?;
        let counts = self.of(&name("counts"), self.images(&name("counts"))?, bins.len(), 1)?;
        let others = self.of(&name("not_finite"), self.images(&name("not_finite"))?, 3, 1)?;
        let extremes = self.of(&name("extremes"), self.floats(&name("extremes"))?, 2, 2)?;
        let side = |side: usize| {
            let both = [extremes[2 * side] as f32, extremes[2 * side + 1] as f32];
            (both[1] > 0.0).then_some(both)
        };
        if let Some(bin) = bins.iter().find(|bin| bin.unsigned_abs() as usize > value_bins::SIDE) {
            return Err(bad(self.path, format!("{} has a bin {bin}", name("bins"))));
        }
        Ok(ValueHistogram {
            bins: bins.into_iter().zip(counts).collect(),
            positive: side(0),
            negative: side(1),
            nan: others[0],
            infinite: [others[1], others[2]],
        })
    }

    /// Returns the gradients of a layer with as many channels as its other columns, or with none.
    fn gates(&self, node: &str, channels: usize) -> Result<GateSums> {
        let name = |column: &str| format!("{node}/gates/{column}");
        let squares = self.floats(&name("squares"))?;
        let n = if squares.is_empty() { 0 } else { channels };
        let of = |column: &str| self.of(&name(column), self.floats(&name(column))?, n, 1);
        Ok(GateSums {
            squares: self.of(&name("squares"), squares, n, 1)?,
            fourths: of("fourths")?,
            batch_squares: of("batch_squares")?,
            batch_fourths: of("batch_fourths")?,
        })
    }

    fn layer(&self, node: &str, op: &str, (classes, gradients): (usize, bool)) -> Result<LayerProfile> {
        let weight = |name: &str| self.floats(&format!("{node}/weight/{name}"));
        let weight = WeightStats {
            mean: weight("mean")?,
            variance: weight("variance")?,
            l1: weight("l1")?,
            l2: weight("l2")?,
            distance: weight("distance")?,
            bn_scale: weight("bn_scale")?,
        };
        let filters = weight.l1.len();
        let post = self.side(&format!("{node}/post"))?;
        let sums = format!("{node}/post/class_sums");
        let series = |name: &str| self.rows(&format!("{node}/training/{name}"), filters);
        let has = |name: &str| self.tensors.tensor(&format!("{node}/training/{name}")).is_ok();
        let optional = |name: &str| if has(name) { series(name) } else { Ok(vec![]) };
        Ok(LayerProfile {
            node: node.to_owned(),
            op: op.to_owned(),
            weight,
            pre: self.side(&format!("{node}/pre"))?,
            class_sums: self.of(&sums, self.floats(&sums)?, classes, post.len())?,
            gates: if gradients { self.gates(node, post.len())? } else { GateSums::default() },
            post,
            trajectory: Trajectory {
                mean: series("mean")?,
                variance: series("variance")?,
                l1: series("l1")?,
                drift: self.floats(&format!("{node}/training/drift"))?,
                wander: self.floats(&format!("{node}/training/wander"))?,
                sign_changes: optional("sign_changes")?,
                gradients: GradientTrajectory {
                    mean: optional("gradient_mean")?,
                    variance: optional("gradient_variance")?,
                    l1: optional("gradient_l1")?,
                    saliency: optional("saliency")?,
                    movement: optional("movement")?.concat(),
                },
            },
        })
    }
}

fn bad(path: &Path, why: String) -> Error {
    Error::new("not a profile of this program")
        .file(path)
        .expected("a file that `profile()` wrote")
        .got(why)
        .remedy("run `profile()` again")
}

impl Profile {
    /// Returns the names of the file's columns.
    pub fn columns(&self) -> Vec<String> {
        columns(self).into_iter().map(|c| c.name).collect()
    }

    /// Writes the profile to a file, which appears whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_whole(path, "write the profile", &self.to_bytes().map_err(|e| e.file(path))?)
    }

    /// Returns the contents of the profile's file.
    ///
    /// # Errors
    /// A header that is no JSON: a fault of this program.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let fail = |e: String| Error::new("cannot write the profile").got(e);
        let header = serde_json::to_string(&self.header).map_err(|e| fail(e.to_string()))?;
        let columns = columns(self);
        let views = columns
            .iter()
            .map(|c| Ok((&c.name, TensorView::new(c.dtype, c.shape.clone(), &c.bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let bytes = views.and_then(|views| {
            safetensors::serialize(views, Some(HashMap::from([(HEADER.to_owned(), header)])))
        });
        bytes.map_err(|e| fail(e.to_string()))
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// A file that cannot be read, is not a profile, has another version, or lacks a column.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(&std::fs::read(path).map_err(|e| Error::io("read the profile", path, e))?, path)
    }

    /// Reads a profile from the contents of a file; `path` is used in messages.
    ///
    /// # Errors
    /// Bytes that are no profile, have another version, or lack a column.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(path, e.to_string()))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| bad(path, e.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get(HEADER));
        let header = header.ok_or_else(|| bad(path, "a file without a header".to_owned()))?;
        let header: serde_json::Value = serde_json::from_str(header).map_err(|e| bad(path, e.to_string()))?;
        if header["version"] != VERSION {
            return Err(bad(path, format!("version {}, not {VERSION}", header["version"])));
        }
        let header: Header = serde_json::from_value(header).map_err(|e| bad(path, e.to_string()))?;
        let reader = TensorReader { tensors, path };
        let classes = reader.images("classes")?;
        let of_layers = (classes.len(), header.gradients.is_some());
        let layers = header.layers.iter().map(|(node, op)| reader.layer(node, op, of_layers));
        let layers = layers.collect::<Result<_>>()?;
        let mut grams = Vec::new();
        for (i, of) in header.grams.iter().enumerate() {
            let name = format!("gram/{i}");
            let elements = GramMatrix::packed_len(of.groups, of.rows).unwrap_or(usize::MAX);
            let packed = reader.of(&name, reader.floats(&name)?, elements, 1)?;
            let (value, consumers) = (of.value.clone(), of.consumers.clone());
            grams.push(GramMatrix {
                value,
                consumers,
                taps: of.taps,
                groups: of.groups,
                rows: of.rows,
                packed,
            });
        }
        let values = (0..header.values.len()).map(|i| reader.histogram(i)).collect::<Result<_>>()?;
        Ok(Self { header, layers, classes, grams, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of older versions name the layers that consume a tensor `readers`.
    #[test]
    fn an_old_header_loads() {
        let gram = GramMatrix::new("x".to_owned(), vec!["a".to_owned(), "b".to_owned()], 1, [1, 2]);
        let mut profile = Profile::new(Header::default(), vec![]);
        profile.header.grams.push(super::super::second_moments::header(&gram));
        profile.grams.push(gram);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("old.profile");
        profile.save(&path).expect("a file");
        let bytes = std::fs::read(&path).expect("its bytes");
        let (new, old) = (br#"consumers\""#, br#"readers\"  "#);
        let at = bytes.windows(new.len()).position(|part| part == new).expect("a key of the header");
        let old = [&bytes[..at], old, &bytes[at + new.len()..]].concat();
        assert_eq!(old.len(), bytes.len());
        std::fs::write(&path, old).expect("an old file");
        assert_eq!(Profile::load(&path).expect("a profile"), profile);
    }
}
