//! Frames of the control stream: a length as a variable-length integer, then that many bytes.
//!
//! The empty frame is the answer "equal", so that it costs one byte.

use crate::error::WireError;
use crate::limits::CONTROL_FRAME_MAX;
use crate::wire::Message;
use crate::wire::pending::Pending;

/// Cuts a control stream, split anyhow, into messages.
#[derive(Debug, Default)]
pub(crate) struct ControlReader {
    pending: Pending,
}

impl ControlReader {
    /// Takes the next bytes of the stream.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
    }

    /// How many bytes wait to be understood.
    pub(crate) fn held(&self) -> usize {
        self.pending.bytes().len()
    }

    /// The next complete message.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, WireError> {
        let bytes = self.pending.bytes();
        let Some((length, start)) = take_length(bytes, CONTROL_FRAME_MAX)? else {
            return Ok(None);
        };
        let end = start + length;
        if bytes.len() < end {
            return Ok(None);
        }
        let message = Message::decode(&bytes[start..end])?;
        self.pending.consume(end);
        Ok(Some(message))
    }
}

/// Appends the frame of `message` to `stream`.
pub(crate) fn write(message: &Message, stream: &mut Vec<u8>) -> Result<(), WireError> {
    let bytes = message.encode();
    if bytes.len() > CONTROL_FRAME_MAX {
        return Err(WireError::FrameTooLong { length: bytes.len(), limit: CONTROL_FRAME_MAX });
    }
    write_length(bytes.len(), stream);
    stream.extend_from_slice(&bytes);
    Ok(())
}

/// Appends `length` in groups of seven bits, lowest first.
pub(crate) fn write_length(length: usize, stream: &mut Vec<u8>) {
    let mut rest = length;
    while rest >= 0x80 {
        stream.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    stream.push(rest as u8);
}

/// The length at the front of `bytes` and the bytes it takes, once it is complete.
pub(crate) fn take_length(bytes: &[u8], limit: usize) -> Result<Option<(usize, usize)>, WireError> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if length > limit {
            return Err(WireError::FrameTooLong { length, limit });
        }
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(WireError::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_the_stream_gives_the_same_messages() {
        let messages = [
            Message::Equal,
            Message::Again,
            Message::Credit { frames: 3, bytes: 900, repeated: 0 },
        ];
        let mut stream = Vec::new();
        for message in &messages {
            write(message, &mut stream).unwrap();
        }
        for at in 0..=stream.len() {
            let mut reader = ControlReader::default();
            let mut seen = Vec::new();
            for part in [&stream[..at], &stream[at..]] {
                reader.extend(part);
                while let Some(message) = reader.next().unwrap() {
                    seen.push(message);
                }
            }
            assert_eq!(seen, messages);
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_arrive() {
        let mut reader = ControlReader::default();
        reader.extend(&[0xff, 0xff, 0x7f]);
        assert!(matches!(reader.next(), Err(WireError::FrameTooLong { .. })));
        let mut reader = ControlReader::default();
        reader.extend(&[0x80, 0x80, 0x80, 0x80]);
        assert_eq!(reader.next(), Err(WireError::Length));
    }
}
