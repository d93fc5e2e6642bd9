//! Questions for receipts, and receipts; what they mean is the owner's business.

use fieldmesh_trie::Key;

use super::Session;
use super::live::keys_of;
use crate::error::SessionError;
use crate::interface::Output;
use crate::limits::{
    CONTROL_FRAME_MAX, RECEIPT_LENGTH_MAX, RECEIPTS_PER_MESSAGE_MAX, UNPROVEN_MAX,
};
use crate::wire::Message;

impl Session {
    /// Asks for receipts that cover `keys`; more than fit one question are left for later, and so
    /// is what comes before this side has introduced itself.
    pub(super) fn ask_proof(&mut self, keys: &[Key]) -> Result<(), SessionError> {
        if !self.is_introduced() || !self.has_lanes() || keys.is_empty() {
            return Ok(());
        }
        let keys = keys.iter().take(UNPROVEN_MAX).flat_map(Key::as_bytes).copied().collect();
        self.send(&Message::Unproven { keys })
    }

    /// Sends receipts; one that is too long is none, and so are those that come before this side
    /// has introduced itself.
    pub(super) fn send_receipts(&mut self, receipts: Vec<Vec<u8>>) -> Result<(), SessionError> {
        if !self.is_introduced() || !self.has_lanes() {
            return Ok(());
        }
        let (mut message, mut length) = (Vec::new(), 0);
        for receipt in receipts.into_iter().filter(|it| it.len() <= RECEIPT_LENGTH_MAX) {
            // Half a frame leaves room for the lengths in front of them.
            let is_full = length + receipt.len() > CONTROL_FRAME_MAX / 2;
            if is_full || message.len() == RECEIPTS_PER_MESSAGE_MAX {
                self.send(&Message::Receipts { receipts: std::mem::take(&mut message) })?;
                length = 0;
            }
            length += receipt.len();
            message.push(receipt);
        }
        if message.is_empty() {
            return Ok(());
        }
        self.send(&Message::Receipts { receipts: message })
    }

    pub(super) fn take_unproven(&mut self, keys: &[u8]) {
        self.outputs.push_back(Output::Unproven(keys_of(keys)));
    }
}
