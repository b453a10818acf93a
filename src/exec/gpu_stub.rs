//! The GPU interface of a build without the feature `gpu`: no adapter exists, so none can be opened.

use std::sync::Arc;

use super::Executor;
use super::info::DeviceInfo;
use crate::error::Result;
use crate::plan::Plan;

/// The reason why there is no GPU.
pub(super) const WHY: Option<&str> =
    Some("this program was built without GPU support (its feature gpu is off)");

/// An uninhabited type in place of an adapter.
#[derive(Debug)]
pub(super) enum Adapter {}

/// An uninhabited type in place of an open GPU.
#[derive(Debug)]
pub enum Gpu {}

/// Returns an empty list of adapters.
pub(super) fn adapters() -> Vec<(Adapter, DeviceInfo)> {
    Vec::new()
}

impl Gpu {
    pub(super) fn open(adapter: &Adapter, _: DeviceInfo) -> Result<Self> {
        match *adapter {}
    }

    pub(super) fn info(&self) -> &DeviceInfo {
        match *self {}
    }

    pub(super) fn load(self: &Arc<Self>, _: &Plan, _: Option<&str>, _: bool) -> Result<Box<dyn Executor>> {
        match **self {}
    }

    pub(super) fn recall(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn notes(&self) -> Vec<String> {
        match *self {}
    }

    pub(super) fn tune(
        self: &Arc<Self>,
        _: &[&Plan],
        _: f64,
        _: &mut dyn FnMut(usize, usize),
    ) -> Result<usize> {
        match **self {}
    }
}
