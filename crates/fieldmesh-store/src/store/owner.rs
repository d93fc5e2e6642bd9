//! Whose a store is, and whether the keys given are its keys.

use fieldmesh_model::StoreId;

use super::{OpenError, io_error};
use crate::files::Files;
use crate::keys::DataKeys;
use crate::log::open::Survey;
use crate::mark::{self, FoundMark, StoreMark};
use crate::random;

/// Whose a store is.
pub(super) struct Owner {
    id: StoreId,
    /// What has to stand in place of a mark that is lost, names the key before, or is of an earlier
    /// version: before this program writes what such a one would misread.
    fresh: Option<StoreMark>,
}

impl Owner {
    /// Writes the mark where it has to be another one; gives the store's id.
    pub(super) fn settle(self, files: &dyn Files) -> Result<StoreId, OpenError> {
        if let Some(mark) = self.fresh {
            mark.write(files).map_err(io_error("writing the store's mark"))?;
        }
        Ok(self.id)
    }
}

/// Whose store this is, after checking the key; changes nothing.
pub(super) fn identify(
    files: &dyn Files,
    survey: &Survey,
    keys: &DataKeys,
) -> Result<Owner, OpenError> {
    let key = keys.current();
    if survey.fits(keys) == Some(false) {
        return Err(OpenError::WrongKey);
    }
    let id = match StoreMark::read(files).map_err(io_error("reading the store's mark"))? {
        FoundMark::Good(found) if key.check(found.id) == found.key_check => {
            return Ok(Owner { id: found.id, fresh: None });
        }
        FoundMark::Good(found) | FoundMark::Earlier(found) => {
            if keys.named(found.id, found.key_check).is_none() {
                return Err(OpenError::WrongKey);
            }
            found.id
        }
        FoundMark::Newer { version } => {
            let (part, reads) = (mark::STORE_NAME.to_owned(), mark::STORE_VERSION);
            return Err(OpenError::NewerVersion { part, version, reads });
        }
        FoundMark::None => match survey.newest_store() {
            Some(id) => id,
            None => StoreId::from_bytes(random::bytes()?),
        },
    };
    Ok(Owner { id, fresh: Some(StoreMark { id, key_check: key.check(id) }) })
}
