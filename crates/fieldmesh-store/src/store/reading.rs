//! Reading entries, and saying which of them turn out to be damaged.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::Store;
use crate::log::segments::Source;
use crate::log::{self, Entry, Place, ReadError, Replayed};

/// Whom damage is told to.
pub(super) type DamageListener = Box<dyn Fn(Range<u64>) + Send + Sync>;

impl Store {
    /// Has `listener` told of each place whose entry a read or a replay finds damaged, as often as
    /// it is found, and of those that lie in one damaged block with it. It must be quick and not
    /// read. The first listener stays.
    pub fn on_damage(&self, listener: impl Fn(Range<u64>) + Send + Sync + 'static) {
        // A second one would be a mistake of the caller.
        let _ = self.damage_listener.set(Box::new(listener));
    }

    /// Reads the entry at a place.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`]: fetch it again from a peer.
    pub fn read(&self, place: Place) -> Result<Arc<Entry>, ReadError> {
        self.read_from(Source::Memory, place)
    }

    /// As [`Store::read`], from the disk, whatever is in memory: for whoever asks what is damaged.
    ///
    /// # Errors
    ///
    /// As [`Store::read`], which may still give the entry.
    pub fn read_from_disk(&self, place: Place) -> Result<Arc<Entry>, ReadError> {
        self.read_from(Source::Disk, place)
    }

    fn read_from(&self, source: Source, place: Place) -> Result<Arc<Entry>, ReadError> {
        let read = self.segments.read_from(source, place);
        match &read {
            Err(ReadError::Damaged { .. } | ReadError::Io { .. }) => {
                for places in self.segments.damaged_with(place) {
                    self.tell_damage(places);
                }
            }
            Ok(_) | Err(ReadError::NotFound { .. }) => {}
        }
        read
    }

    /// Gives every entry behind `after` to `visit`, in order, until it breaks off.
    ///
    /// # Errors
    ///
    /// A segment cannot be opened; damage inside one is listed in the result instead.
    pub fn replay(
        &self,
        after: Option<Place>,
        visit: impl FnMut(Place, Entry) -> ControlFlow<()>,
    ) -> Result<Replayed, ReadError> {
        let replayed = log::replay(&self.segments, after, visit)?;
        for bad in &replayed.bad_frames {
            self.tell_damage(bad.sequences.clone());
        }
        Ok(replayed)
    }

    fn tell_damage(&self, places: Range<u64>) {
        if let Some(tell) = self.damage_listener.get().filter(|_| !places.is_empty()) {
            tell(places);
        }
    }
}
