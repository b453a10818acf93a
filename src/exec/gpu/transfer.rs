//! Buffers on the device, and submissions that read results back.

use std::sync::mpsc;
use std::time::Duration;

use super::device::{Gpu, SMALLER};
use super::encoding::{bytes, decode};
use crate::error::{Error, Result};
use crate::tensor::Precision;

/// Time that a callback may take after its work is done.
const CALLBACK: Duration = Duration::from_secs(30);

/// A copy to host memory: the buffer, the staging buffer, the number of elements, and their encoding.
pub(super) type Readback<'a> = (&'a wgpu::Buffer, &'a wgpu::Buffer, usize, Precision);

impl Gpu {
    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    pub(super) fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    /// Creates a staging buffer in host memory for `len` elements.
    pub(super) fn staging(&self, len: usize) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        self.buffer(bytes(len, Precision::F32), usage)
    }

    /// Adds the copies to an encoder, submits it, waits, and decodes the results.
    ///
    /// # Errors
    /// Fails if the device fails or its callbacks do not arrive.
    pub(super) fn finish(
        &self,
        mut encoder: wgpu::CommandEncoder,
        reads: &[Readback],
    ) -> Result<Vec<Vec<f32>>> {
        for &(from, over, len, precision) in reads {
            let size = ((len * precision.size()) as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT);
            encoder.copy_buffer_to_buffer(from, 0, over, 0, size);
        }
        let submission = self.queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        for (_, over, ..) in reads {
            let sender = sender.clone();
            // Sending fails only after the receiver is dropped, when the result is no longer needed.
            over.map_async(wgpu::MapMode::Read, .., move |result| {
                let _ = sender.send(result.is_ok());
            });
        }
        drop(sender);
        self.wait(submission)?;
        // Another thread that waits on this device may run these callbacks, a moment later.
        let arrived = reads.iter().all(|_| receiver.recv_timeout(CALLBACK).is_ok_and(|ok| ok));
        let read = |&(_, over, len, precision): &Readback| {
            let view = over.get_mapped_range(..).ok().filter(|_| arrived);
            let data = view.map(|view| decode(&view[..len * precision.size()], precision));
            over.unmap();
            data.ok_or_else(|| {
                Error::new(format!("\"{}\" returned no results", self.info.name)).remedy(SMALLER)
            })
        };
        // Unmaps all, even if one fails.
        let read: Vec<Result<Vec<f32>>> = reads.iter().map(read).collect();
        read.into_iter().collect()
    }
}
