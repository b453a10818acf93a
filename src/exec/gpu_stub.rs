//! The GPU's outside in a program that was built without the feature `gpu`: there is no adapter, so there is nothing
//! that could be opened.

use std::sync::Arc;

use super::Executor;
use super::info::DeviceInfo;
use crate::error::Result;
use crate::plan::Plan;

/// Why there is no GPU.
pub(super) const WHY: Option<&str> = Some("this program was built without GPU support (the feature `gpu`)");

/// An adapter; there is none.
#[derive(Debug)]
pub(super) enum Adapter {}

/// An open device; there is none.
#[derive(Debug)]
pub enum Gpu {}

/// The adapters here: none.
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

    pub(super) fn tune(
        self: &Arc<Self>,
        _: &[&Plan],
        _: f64,
        _: &mut dyn FnMut(usize, usize),
    ) -> Result<usize> {
        match **self {}
    }
}
