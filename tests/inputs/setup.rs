//! A network in a file with data, and the operations on both that every kind of input must allow.

use std::io::Write as _;
use std::path::PathBuf;

use secateur::compare::{Tolerance, compare};
use secateur::data::{DataOptions, write_npy, write_npy_f32};
use secateur::error::Error;
use secateur::exec::devices::Device;
use secateur::exec::session::Session;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::pipeline::{
    Calibration, Dataset, Evaluation, Evidence, InputOptions, InputValue, Network, Origin, Outcome, Profile,
    ProfileOptions, PruneOptions, Pruned, Resume, evaluate, open_data, profile, prune,
};
use secateur::repair::Repair;
use secateur::stats::{Activity, DERIVED, Moments};
use secateur::tensor::Tensor;

/// Sums of the same numbers in another order.
pub(crate) const SUMS: Tolerance = Tolerance { name: "sums", absolute: 1e-6, relative: 1e-6 };

/// A network in a file with its data, and what a user says about its inputs.
pub(crate) struct Setup {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) data: String,
    pub(crate) inputs: InputOptions,
    pub(crate) options: DataOptions,
}

/// Numbers between −1 and 1 that look random.
pub(crate) fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

impl Setup {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("built.onnx"), bytes).unwrap();
        let (data, inputs) = (String::new(), InputOptions::default());
        Self { folder, data, inputs, options: DataOptions::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn spec(mut self, data: &str) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    /// Gives an array of numbers as data.
    pub(crate) fn rows(self, shape: &[usize]) -> Self {
        let path = self.path("data.npy");
        write_npy_f32(&path, shape, &numbers(shape.iter().product(), 0)).unwrap();
        self.spec(path.to_str().unwrap())
    }

    /// Gives an npz file with an array of numbers for each name; tokens are integers from 0 to 4.
    pub(crate) fn arrays<'a>(self, arrays: &[(&'a str, &[usize])]) -> Self {
        let tensor = |(seed, &(name, shape)): (usize, &(&'a str, &[usize]))| {
            let len = shape.iter().product();
            let tokens = || Tensor::int(shape, (0..len).map(|i| (i * 7 % 5) as i64).collect());
            (name, if name == "tokens" { tokens() } else { Tensor::float(shape, numbers(len, seed)) })
        };
        let tensors: Vec<_> = arrays.iter().enumerate().map(tensor).collect();
        self.npz(&tensors)
    }

    pub(crate) fn npz(self, tensors: &[(&str, Tensor)]) -> Self {
        let path = self.path("data.npz");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (name, tensor) in tensors {
            let one = self.path("one.npy");
            write_npy(&one, tensor).unwrap();
            zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&std::fs::read(&one).unwrap()).unwrap();
        }
        zip.finish().unwrap();
        self.spec(path.to_str().unwrap())
    }

    pub(crate) fn value(mut self, name: &str, numbers: &[f64]) -> Self {
        self.inputs.values.push((name.to_owned(), InputValue::Numbers(numbers.to_vec())));
        self
    }

    pub(crate) fn size(mut self, name: &str, shape: &[usize]) -> Self {
        self.inputs.sizes.push((name.to_owned(), shape.to_vec()));
        self
    }

    pub(crate) fn options(mut self, options: DataOptions) -> Self {
        self.options = options;
        self
    }

    pub(crate) fn model(&self, file: &str) -> Result<Model, Error> {
        self.inputs.load(&self.path(file), Some((&self.data.as_str().into(), &self.options)))
    }

    pub(crate) fn network(&self) -> Result<Network, Error> {
        Network::from_file(self.model("built.onnx")?, false)
    }

    pub(crate) fn dataset(&self, network: &Network) -> Result<Dataset, Error> {
        open_data(&network.graph, &self.data, &self.options)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::new(&self.data, &self.options)
    }

    /// Gathers statistics, resuming an earlier profile.
    pub(crate) fn resumed(
        &self,
        device: &Device,
        batch: Option<usize>,
        from: Option<Resume>,
    ) -> Result<Profile, Error> {
        let network = self.network()?;
        let (data, options) =
            (self.dataset(&network)?, ProfileOptions { batch, ..ProfileOptions::default() });
        let source = (&data, &self.origin());
        Ok(profile(&network, device, source, &options, from, &mut Silent)?.profile)
    }

    pub(crate) fn profile(&self, device: &Device) -> Profile {
        self.resumed(device, None, None).unwrap()
    }

    pub(crate) fn evaluate(&self, device: &Device) -> Evaluation {
        let network = self.network().unwrap();
        let data = self.dataset(&network).unwrap();
        evaluate(&network.graph, None, device, &data, None, &mut Silent).unwrap()
    }

    /// Prunes with one repair, by the default criterion.
    pub(crate) fn pruned(&self, device: &Device, repair: Repair) -> Result<Pruned, Error> {
        let network = self.network()?;
        let data = self.dataset(&network)?;
        let calibration = Calibration::hold_out(data, self.origin(), Some(0.2), None)?;
        let output = Some(self.path("small.onnx"));
        let options = PruneOptions { repair: Some(repair), output, ..PruneOptions::default() };
        match prune(network, device, Evidence::images(&calibration), &options, &mut Silent)? {
            Outcome::Done(pruned) => Ok(pruned),
            other => panic!("{repair:?}: {other:?}"),
        }
    }

    /// Prunes with one repair; the file must run with the same data.
    pub(crate) fn prunes(&self, device: &Device, repair: Repair, what: &str) {
        let network = self.network().unwrap();
        let declared = network.model.graph().input.clone();
        let count = self.dataset(&network).unwrap().len();
        let judged = count / 5;
        let pruned = self.pruned(device, repair).unwrap_or_else(|e| panic!("{what}, {repair:?}: {e}"));
        assert!(
            pruned.proof.passed && pruned.proof.exact && pruned.proof.inputs > 1,
            "{what}: {:?}",
            pruned.proof
        );
        assert!(pruned.after.params < pruned.before.params && pruned.removed_channels > 0, "{what}");
        assert_eq!(pruned.evaluation.unwrap().images, judged, "{what}");
        let small = Network::from_file(self.model("small.onnx").unwrap(), false).unwrap();
        assert_eq!(small.model.graph().input, declared, "{what}: the file keeps its inputs");
        let data = self.dataset(&small).unwrap();
        let judged = evaluate(&small.graph, None, device, &data, None, &mut Silent).unwrap();
        assert_eq!(judged.images, count, "{what}");
    }

    /// Checks profile, prune with every repair, and evaluation with `count` samples.
    pub(crate) fn works(&self, count: usize, what: &str) -> Profile {
        let cpu = &Device::Cpu;
        let profile = self.profile(cpu);
        assert_eq!((profile.header.images, profile.header.complete), (count as u64, true), "{what}");
        assert!(profile.layers.iter().flat_map(|l| &l.pre).all(|a| a.moments.count > 0.0), "{what}");
        assert_eq!(self.evaluate(cpu).images, count, "{what}");
        for repair in [Repair::None, Repair::Bias, Repair::Bn, Repair::Full] {
            self.prunes(cpu, repair, what);
        }
        profile
    }

    /// Returns the first output for each sample of the data.
    pub(crate) fn outputs(&self) -> Vec<f32> {
        let network = self.network().unwrap();
        let data = self.dataset(&network).unwrap();
        let mut session =
            Session::for_samples(&network.graph, &Device::Cpu, &data.sample().unwrap(), (None, data.len()))
                .unwrap();
        data.batches(4).flat_map(|batch| session.predict(&batch.unwrap().data).unwrap()).collect()
    }
}

/// Statistics of all channels of all layers, before and after activations.
pub(crate) fn statistics(profile: &Profile, one: impl Fn(&Activity) -> Vec<f64>) -> Vec<f64> {
    profile.layers.iter().flat_map(|l| l.pre.iter().chain(&l.post)).flat_map(one).collect()
}

pub(crate) fn moments(a: &Activity) -> Vec<f64> {
    let Moments { count, mean, min, max, .. } = a.moments;
    vec![count, mean, a.moments.variance(), a.moments.mean_abs(), a.moments.frequency(), min, max]
}

pub(crate) fn all(a: &Activity) -> Vec<f64> {
    let derived = DERIVED.iter().map(|(_, of)| of(a));
    moments(a).into_iter().chain(derived).map(|v| if v.is_nan() { -1.0 } else { v }).collect()
}

/// Checks that two profiles have equal statistics, and second moments with the same ratio to the number of values.
pub(crate) fn equal(got: &Profile, expected: &Profile, one: fn(&Activity) -> Vec<f64>, what: &str) {
    let verdict = compare(&statistics(got, one), &statistics(expected, one), SUMS);
    assert!(verdict.passed(), "{what}: {verdict}");
    assert_eq!(got.grams.len(), expected.grams.len(), "{what}");
    for (got, expected) in got.grams.iter().zip(&expected.grams) {
        let verdict = compare(&got.packed, &expected.packed, SUMS);
        assert!(verdict.passed(), "{what}, Gram matrix of {}: {verdict}", got.value);
    }
}
