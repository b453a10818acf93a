//! The statistics that a decision needs: from a profile, from images, or both.
//!
//! With a profile's file and images, statistics that the profile lacks are gathered and saved there, also when an
//! observer ends the run: the same call continues it.

use std::path::{Path, PathBuf};

use super::calibration::Calibration;
use super::decision::Outcome;
use super::gradients::gather_gradients;
use super::image_source::ImageSource;
use super::network::Network;
use super::plan_options::{DEFAULT_CRITERION, PlanOptions};
use super::profiling::{Resume, header, options_for, pass};
use crate::error::{Error, Result};
use crate::exec::devices::Device;
use crate::observer::{Notice, Observer};
use crate::prune::{Consumers, Criterion, EliminationCurves, Needs};
use crate::repair::{Probed, probe};
use crate::stats::{Distances, Profile};

/// The statistics and images that a decision may use.
#[derive(Debug, Default)]
pub struct Evidence<'a> {
    /// Statistics that were gathered before.
    pub profile: Option<Profile>,
    /// The file of the profile. With images, it receives what is gathered.
    pub file: Option<PathBuf>,
    /// Calibration images, with those that judge.
    pub calibration: Option<&'a Calibration>,
    /// Images at once; `None` lets the device's limits decide.
    pub batch: Option<usize>,
}

/// The statistics that decide.
pub(super) struct Gathered {
    pub(super) profile: Profile,
    /// Elimination curves that were computed on the way.
    pub(super) curves: EliminationCurves,
}

impl<'a> Evidence<'a> {
    /// Returns the evidence of calibration images alone.
    pub fn images(calibration: &'a Calibration) -> Self {
        Self { calibration: Some(calibration), ..Self::default() }
    }

    /// Opens a profile's file, beside calibration images or alone.
    ///
    /// With images, a file that does not exist yet is created by the decision.
    ///
    /// # Errors
    /// A file that cannot be read, is no profile, or is the profile of another model.
    pub fn open(
        network: &Network,
        file: Option<&Path>,
        calibration: Option<&'a Calibration>,
        batch: Option<usize>,
    ) -> Result<Self> {
        let known = file.filter(|file| calibration.is_none() || file.exists());
        let profile = known.map(|file| load_profile(file, network)).transpose()?;
        Ok(Self { profile, file: file.map(Path::to_path_buf), calibration, batch })
    }

    /// The file that receives what is gathered.
    fn checkpoint(&self) -> Option<&Path> {
        self.file.as_deref().filter(|_| self.calibration.is_some())
    }

    /// Chooses the criterion, if none is set: the default one if its statistics exist or can be gathered, else the
    /// next best (docs/accuracy.md) for which the profile has statistics.
    pub(super) fn resolve(
        &self,
        network: &Network,
        options: &PlanOptions,
        observer: &mut dyn Observer,
    ) -> Result<PlanOptions> {
        let (None, None, Some(profile)) = (&options.criterion, self.calibration, &self.profile) else {
            return Ok(options.clone());
        };
        if Consumers::of(&network.graph, &network.channels, profile).is_some() {
            return Ok(options.clone());
        }
        let used = if profile.grams.iter().any(|gram| gram.taps == 1) { "obd" } else { "act-variance" };
        observer.notice(Notice::CriterionFallback {
            used,
            default: DEFAULT_CRITERION,
            profile: self.file.clone(),
        });
        Ok(PlanOptions { criterion: Some(used.parse()?), ..options.clone() })
    }

    /// Gathers the statistics that a criterion needs, and measures the sensitivities of the output if it uses them.
    pub(super) fn gather(
        &mut self,
        network: &Network,
        device: &Device,
        options: &PlanOptions,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Gathered>> {
        let criterion = options.criterion()?;
        let Outcome::Done(mut profile) = self.statistics(network, device, &criterion, observer)? else {
            return Ok(Outcome::Interrupted);
        };
        if criterion.needs().gradients && !self.gradients(network, device, &mut profile, observer)? {
            return Ok(Outcome::Interrupted);
        }
        if !profile.header.complete || !criterion.needs().patches {
            return Ok(Outcome::Done(Gathered { profile, curves: EliminationCurves::default() }));
        }
        self.sensitivities(network, device, options, profile, observer)
    }

    fn statistics(
        &mut self,
        network: &Network,
        device: &Device,
        criterion: &Criterion,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Profile>> {
        let needs = criterion.needs();
        let begun = match self.profile.take() {
            Some(profile) if self.suffices(network, &profile, needs) => return Ok(Outcome::Done(profile)),
            begun => begun,
        };
        // Statistics by class that exist already are gathered again with the others.
        let labels = needs.labels || begun.as_ref().is_some_and(|profile| !profile.classes.is_empty());
        let needs = Needs { labels, ..needs };
        if !needs.data {
            return weights_profile(network, needs).map(Outcome::Done);
        }
        let Some(calibration) = self.calibration else {
            return Err(Error::new(format!("the criterion {criterion} needs activations"))
                .expected("`data` or `profile`")
                .remedy("set `data`, or choose a criterion on weights such as l1"));
        };
        if needs.patches {
            // Repeated passes over the images follow: they are decoded once.
            calibration.images(observer)?;
        }
        // Another pass over the images leaves their gradients as they are.
        let gradients = begun.as_ref().map(Profile::gradients);
        let resume = begun.map(|profile| Resume::or_restart(profile, self.file.clone()));
        let source = (ImageSource::Calibration(calibration), &calibration.origin);
        let profiled = pass(network, device, source, &options_for(needs, self.batch), resume, observer)?;
        let mut profile = profiled.profile;
        if let Some(gradients) = gradients {
            profile.set_gradients(gradients);
        }
        if let Some(file) = self.checkpoint() {
            profile.save(file)?;
        }
        Ok(if profile.header.complete { Outcome::Done(profile) } else { Outcome::Interrupted })
    }

    /// Gathers the gradients that a profile lacks, if there are images; returns whether the pass ended.
    fn gradients(
        &self,
        network: &Network,
        device: &Device,
        profile: &mut Profile,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let known = profile.header.gradients.as_ref().is_some_and(|gradients| gradients.complete);
        let Some(calibration) = self.calibration.filter(|_| !known) else { return Ok(true) };
        let source = ImageSource::Calibration(calibration);
        gather_gradients(network, device, source, self.batch, profile, observer)?;
        if let Some(file) = self.checkpoint() {
            profile.save(file)?;
        }
        Ok(profile.header.is_complete())
    }

    /// Returns whether a profile needs no more statistics, or can get none.
    fn suffices(&self, network: &Network, profile: &Profile, needs: Needs) -> bool {
        let lacks_patches =
            || needs.patches && Consumers::of(&network.graph, &network.channels, profile).is_none();
        let lacks = needs.gram && profile.grams.is_empty() || lacks_patches();
        self.calibration.is_none() || !needs.data || profile.header.complete && !lacks
    }

    /// Measures what the output loses without some channels, as far as the profile lacks it.
    fn sensitivities(
        &self,
        network: &Network,
        device: &Device,
        options: &PlanOptions,
        mut profile: Profile,
        observer: &mut dyn Observer,
    ) -> Result<Outcome<Gathered>> {
        let Some(calibration) = self.calibration else {
            return Ok(Outcome::Done(Gathered { profile, curves: EliminationCurves::default() }));
        };
        let images = calibration.images(observer)?;
        let (graph, channels) = (&network.graph, &network.channels);
        let Probed { sensitivity, complete, curves } =
            probe(graph, channels, &profile, &options.protected, (device, images), observer)?;
        let more = sensitivity.len() > profile.header.sensitivity.len();
        profile.header.sensitivity = sensitivity;
        if let Some(file) = self.checkpoint().filter(|_| more) {
            profile.save(file)?;
        }
        Ok(if complete { Outcome::Done(Gathered { profile, curves }) } else { Outcome::Interrupted })
    }
}

/// Profiles the weights of a network alone.
pub(super) fn weights_profile(network: &Network, needs: Needs) -> Result<Profile> {
    let (graph, facts) = (&network.graph, &network.channels.facts);
    Profile::of_weights_with(graph, facts, header(&network.model), Distances::asked(needs.distances))
}

/// Loads the profile of a network.
///
/// # Errors
/// A file that cannot be read, is no profile, or is the profile of another model.
pub fn load_profile(file: &Path, network: &Network) -> Result<Profile> {
    let profile = Profile::load(file)?;
    if profile.header.model_sha256 != network.model.sha256 {
        return Err(Error::new("the profile is of another model")
            .file(file)
            .expected(format!("a profile of {}", network.model.path.display()))
            .got(format!("one of {}", profile.header.model))
            .remedy("run `profile()` on this model"));
    }
    let ours = header(&network.model);
    if profile.header.inputs != ours.inputs {
        return Err(Error::new("the profile was gathered with other input values")
            .file(file)
            .expected(ours.input_values())
            .got(profile.header.input_values())
            .remedy("give each `input` the value that it had in `profile()`"));
    }
    Ok(profile)
}
