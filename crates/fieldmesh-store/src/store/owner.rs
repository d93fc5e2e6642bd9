//! Whose a store is, and whether the keys given are its keys.

use fieldmesh_model::StoreId;

use super::{OpenError, io_error};
use crate::files::Files;
use crate::keys::DataKeys;
use crate::log::open::Survey;
use crate::mark::{FoundMark, StoreMark};
use crate::random;

/// Whose store this is, after checking the key; a lost mark is written anew, and one that names
/// the key before.
pub(super) fn identify(
    files: &dyn Files,
    survey: &Survey,
    keys: &DataKeys,
) -> Result<StoreId, OpenError> {
    let key = keys.current();
    if survey.fits(keys) == Some(false) {
        return Err(OpenError::WrongKey);
    }
    let id = match StoreMark::read(files).map_err(io_error("reading the store's mark"))? {
        FoundMark::Good(found) if key.check(found.id) == found.key_check => return Ok(found.id),
        FoundMark::Good(found) if keys.named(found.id, found.key_check).is_some() => found.id,
        FoundMark::Good(_) => return Err(OpenError::WrongKey),
        FoundMark::Newer { version } => {
            return Err(OpenError::NewerVersion { part: "store", version });
        }
        FoundMark::None => match survey.newest_store() {
            Some(id) => id,
            None => StoreId::from_bytes(random::bytes()?),
        },
    };
    let found = StoreMark { id, key_check: key.check(id) };
    found.write(files).map_err(io_error("writing the store's mark"))?;
    Ok(id)
}
