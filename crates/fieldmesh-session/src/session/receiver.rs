//! Frames that come in: how many are expected, and how many wait to become durable.

use std::collections::VecDeque;

use crate::error::SessionError;
use crate::interface::{FrameMark, Output, Received};
use crate::limits::DATA_FRAME_MAX;
use crate::wire::{DataReader, Frame, Message};

/// The incoming half of the data streams.
pub(super) struct Receiver {
    reader: DataReader,
    window: u64,
    /// Answers that the peer promised or was asked for; whole conversation.
    answers_expected: u64,
    answers_received: u64,
    unsettled_answers: u64,
    unsettled_frames: u64,
    unsettled_bytes: u64,
    credit_frames: u32,
    credit_bytes: u64,
    credit_repeated: u32,
}

impl Receiver {
    pub(super) fn new(window: u32) -> Self {
        Self {
            reader: DataReader::new(),
            window: u64::from(window),
            answers_expected: 0,
            answers_received: 0,
            unsettled_answers: 0,
            unsettled_frames: 0,
            unsettled_bytes: 0,
            credit_frames: 0,
            credit_bytes: 0,
            credit_repeated: 0,
        }
    }

    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        outputs: &mut VecDeque<Output>,
    ) -> Result<(), SessionError> {
        let limit = self.window + DATA_FRAME_MAX as u64;
        self.reader.read(bytes, |frame: Frame| {
            if frame.kind.is_answer() {
                self.answers_received += 1;
                self.unsettled_answers += 1;
            }
            self.unsettled_frames += 1;
            self.unsettled_bytes += frame.bytes.len() as u64;
            if self.unsettled_bytes > limit {
                return Err(SessionError::Flood { bytes: self.unsettled_bytes, limit });
            }
            outputs.push_back(Output::Received(Received {
                frame: FrameMark::of(&frame),
                bytes: frame.bytes,
            }));
            Ok(())
        })
    }

    /// A received frame is durable or judged.
    pub(super) fn settled(&mut self, frame: FrameMark) {
        let bytes = frame.length as u64;
        if frame.is_answer() {
            self.unsettled_answers = self.unsettled_answers.saturating_sub(1);
        }
        self.unsettled_frames = self.unsettled_frames.saturating_sub(1);
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(bytes);
        self.credit_frames = self.credit_frames.saturating_add(1);
        self.credit_bytes = self.credit_bytes.saturating_add(bytes);
    }

    /// A frame that was passed on brought what was here already.
    pub(super) fn repeated(&mut self, frame: FrameMark) {
        self.credit_repeated += u32::from(!frame.is_answer());
    }

    /// What has settled since the last credit, to be told to the peer.
    pub(super) fn take_credit(&mut self) -> Option<Message> {
        let frames = std::mem::take(&mut self.credit_frames);
        let bytes = std::mem::take(&mut self.credit_bytes);
        let repeated = std::mem::take(&mut self.credit_repeated);
        (frames > 0).then_some(Message::Credit { frames, bytes, repeated })
    }

    pub(super) fn expect_more(&mut self, count: u64) {
        self.answers_expected = self.answers_expected.saturating_add(count);
    }

    pub(super) fn expect_less(&mut self, count: u32) {
        self.answers_expected = self.answers_expected.saturating_sub(u64::from(count));
    }

    /// Whether every expected answer is here and settled.
    pub(super) const fn has_answers(&self) -> bool {
        self.answers_received >= self.answers_expected && self.unsettled_answers == 0
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.unsettled_frames == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INGEST_WINDOW_DEFAULT;
    use crate::wire::{DataWriter, FrameKind};

    #[test]
    fn a_sender_that_ignores_the_window_is_cut_off_before_memory_fills() {
        let mut receiver = Receiver::new(INGEST_WINDOW_DEFAULT);
        let mut writer = DataWriter::new();
        let mut outputs = VecDeque::new();
        let mut frame = vec![0; 60_000];
        for index in 0..100_u64 {
            blake3::Hasher::new().update(&index.to_be_bytes()).finalize_xof().fill(&mut frame);
            writer.write(FrameKind::PushedBatch, &frame).unwrap();
            let refused = receiver.read(&writer.flush().unwrap(), &mut outputs);
            if let Err(error) = refused {
                assert!(matches!(error, SessionError::Flood { .. }), "{error:?}");
                assert!(outputs.len() < 30);
                return;
            }
        }
        panic!("the flood is not noticed");
    }

    #[test]
    fn credit_covers_what_has_settled_once() {
        let mut receiver = Receiver::new(INGEST_WINDOW_DEFAULT);
        let mut writer = DataWriter::new();
        let mut outputs = VecDeque::new();
        writer.write(FrameKind::Batch, b"12345").unwrap();
        receiver.expect_more(1);
        receiver.read(&writer.flush().unwrap(), &mut outputs).unwrap();
        let Some(Output::Received(received)) = outputs.pop_front() else { panic!("no frame") };
        assert!(!receiver.has_answers() && receiver.take_credit().is_none());
        receiver.settled(received.frame);
        let credit = Message::Credit { frames: 1, bytes: 5, repeated: 0 };
        assert_eq!(receiver.take_credit(), Some(credit));
        assert!(receiver.has_answers() && receiver.take_credit().is_none());
    }
}
