//! Small networks with random data, and trainings of them.

use secateur::exec::devices::Device;
use secateur::graph::Graph;
use secateur::observer::Silent;
use secateur::onnx::Model;
use secateur::pipeline::{
    Augment, Calibration, Finetuned, KeptValues, MetricOptions, Network, Observer, TrainingLength,
    TrainingOptions, finetune,
};
use secateur::tensor::Tensor;

use super::builder::{Builder, Value};
use super::files::{Setup, numbers};

/// The samples of a small data set.
pub(crate) const SAMPLES: usize = 32;

/// Adds two convolutions, one of them normalized.
pub(crate) fn body(b: &mut Builder, x: &Value) -> Value {
    let y = b.conv(x, 6, 3, 2, 1);
    let y = b.batch_norm(&y);
    let y = b.unary("Relu", &y);
    let y = b.conv(&y, 8, 3, 1, 1);
    b.unary("Relu", &y)
}

/// A classifier of images 3×8×8 into five classes, with random weights.
pub(crate) fn classifier(seed: u64) -> Vec<u8> {
    let mut b = Builder::new(seed, 8);
    let x = b.input();
    let y = body(&mut b, &x);
    b.finish(&[y], true).0
}

/// Gives a network random images with labels that depend on them.
pub(crate) fn labelled(bytes: Vec<u8>) -> Setup {
    let shape = [SAMPLES, 3, 8, 8];
    let mut images = numbers(shape.iter().product(), 0);
    let classes: Vec<i64> = (0..SAMPLES as i64).map(|sample| sample % 5).collect();
    for (image, &class) in images.chunks_exact_mut(192).zip(&classes) {
        // Each class has a bright row of its own in the first plane.
        image[class as usize * 8..][..8].iter_mut().for_each(|x| *x += 2.0);
    }
    let labels = Tensor::int(&[SAMPLES], classes);
    Setup::new(bytes).npz(&[("images", Tensor::float(&shape, images)), ("labels", labels)])
}

/// Gives a network random images without labels.
pub(crate) fn unlabelled(bytes: Vec<u8>) -> Setup {
    Setup::new(bytes).rows(&[SAMPLES, 3, 8, 8])
}

pub(crate) fn graph(bytes: Vec<u8>) -> Graph {
    Graph::from_model(&Model::from_bytes(bytes, std::path::Path::new("teacher.onnx")).unwrap()).unwrap()
}

/// Options of a training of so many steps of eight images, which are not changed.
pub(crate) fn steps(steps: usize) -> TrainingOptions {
    TrainingOptions {
        batch: Some(8),
        rate: Some(0.01),
        augment: Some(Augment::default()),
        ..TrainingOptions::new(TrainingLength::Steps(steps))
    }
}

/// A network with the images that train and judge it.
pub(crate) struct Course {
    pub(crate) network: Network,
    pub(crate) calibration: Calibration,
    /// The files, which are deleted with it.
    pub(crate) _setup: Setup,
}

impl Course {
    pub(crate) fn of(setup: Setup) -> Self {
        let network = setup.network().unwrap();
        let data = setup.dataset(&network).unwrap();
        Self { network, calibration: Calibration::new(data, setup.origin()), _setup: setup }
    }

    pub(crate) fn observed(
        &self,
        (teacher, device): (Option<&Graph>, &Device),
        options: &TrainingOptions,
        observer: &mut dyn Observer,
    ) -> secateur::error::Result<Finetuned> {
        // Random networks are no better than chance.
        let metric = MetricOptions { force: true, ..MetricOptions::default() };
        let by = (options, &metric);
        finetune(
            &self.network,
            (teacher, &KeptValues::new()),
            (device, None),
            &self.calibration,
            by,
            observer,
        )
    }

    pub(crate) fn train(
        &self,
        teacher: Option<&Graph>,
        device: &Device,
        options: &TrainingOptions,
    ) -> Finetuned {
        self.observed((teacher, device), options, &mut Silent).unwrap()
    }
}

/// Returns the names and bytes of a model's initializers that differ from another model's.
pub(crate) fn changed(before: &Model, after: &Model) -> Vec<String> {
    let initializers = |model: &Model| model.graph().initializer.clone();
    let (before, after) = (initializers(before), initializers(after));
    assert_eq!(before.len(), after.len());
    let pairs = before.iter().zip(&after);
    pairs.filter(|(a, b)| a != b).map(|(a, _)| a.name().to_owned()).collect()
}
