//! What zstd works with, kept for the next use: making it costs more than a small entry does.

use std::io;
use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

/// Contexts of each kind that are kept: as many as threads work at the same time on most devices.
const KEPT_MAX: usize = 4;
/// What is larger makes a context grow, so that one is not kept.
const KEPT_SOURCE_MAX: usize = 256 * 1024;

static COMPRESSORS: Pool<Compressor<'static>> = Pool::new();
static DECOMPRESSORS: Pool<Decompressor<'static>> = Pool::new();

struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, context: T) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(context);
        }
    }
}

/// Compresses bytes.
pub(crate) fn compress(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut context = match COMPRESSORS.take() {
        Some(mut kept) => {
            kept.set_compression_level(level)?;
            kept
        }
        None => Compressor::new(level)?,
    };
    let packed = context.compress(bytes)?;
    if bytes.len() <= KEPT_SOURCE_MAX {
        COMPRESSORS.keep(context);
    }
    Ok(packed)
}

/// Decompresses at most `length_max` bytes.
pub(crate) fn decompress(packed: &[u8], length_max: usize) -> io::Result<Vec<u8>> {
    let mut context = DECOMPRESSORS.take().map_or_else(Decompressor::new, Ok)?;
    let bytes = context.decompress(packed, length_max)?;
    DECOMPRESSORS.keep(context);
    Ok(bytes)
}
