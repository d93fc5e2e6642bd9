//! A new store in the place of another one.

use std::path::Path;

use fieldmesh_model::StoreId;

use crate::files::{Files as _, RealFiles};
use crate::key::DataKey;
use crate::log::LOG_FOLDER;
use crate::mark::{FoundMark, StoreMark};
use crate::store::{OpenError, Options, Store};

impl Store {
    /// Creates a store in an empty folder under the id of the one whose contents it is about to
    /// get.
    ///
    /// What others know of that store is then about this one: whoever does this says how often it
    /// was restored.
    ///
    /// # Errors
    ///
    /// As [`Store::open`], and [`OpenError::NotEmpty`] if there is a store already.
    pub fn create_as(
        folder: impl AsRef<Path>,
        key: &DataKey,
        options: &Options,
        id: StoreId,
    ) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let io_error = |doing| move |source| OpenError::Io { doing, source };
        let files = RealFiles::open(folder).map_err(io_error("opening the folder"))?;
        let mark = StoreMark::read(&files).map_err(io_error("reading the store's mark"))?;
        if mark != FoundMark::None || files.size_of_folder(LOG_FOLDER).is_ok_and(|size| size > 0) {
            return Err(OpenError::NotEmpty { folder: folder.into() });
        }
        let mark = StoreMark { id, key_check: key.check(id) };
        mark.write(&files).map_err(io_error("writing the store's mark"))?;
        Self::open(folder, key, options)
    }
}
