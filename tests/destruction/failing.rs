//! A disk that fails at some call of one command.

use std::fmt::{self, Display};
use std::path::Path;

use crate::device::Device;
use crate::numbers::Numbers;
use crate::stage::Stage;

/// Where and how it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing {
    call: usize,
    fault: &'static str,
    is_half: bool,
    is_lasting: bool,
}

impl Failing {
    /// One of the first `calls` calls.
    pub(crate) fn draw(numbers: &mut Numbers, calls: usize) -> Self {
        let call = 1 + numbers.below(calls);
        let fault = *numbers.pick(&["ENOSPC", "EIO"]);
        let (is_half, is_lasting) = (numbers.percent(50), numbers.percent(50));
        Self { call, fault, is_half, is_lasting }
    }

    /// The device on such a disk, as far as it is below `root`.
    pub(crate) fn on(self, stage: &Stage, device: &Device, root: &Path) -> Device {
        let mut settings = vec![
            ("DISK_ROOT", root.to_str().unwrap().to_owned()),
            ("DISK_CALL", self.call.to_string()),
            ("DISK_FAULT", self.fault.to_owned()),
        ];
        let more = [("DISK_HALF", self.is_half), ("DISK_LASTING", self.is_lasting)];
        let more = more.into_iter().filter(|(_, is_set)| *is_set);
        settings.extend(more.map(|(name, _)| (name, "1".to_owned())));
        stage.watched(device, &settings)
    }
}

impl Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, fault, is_half, is_lasting } = self;
        write!(formatter, "{fault} at call {call}")?;
        let more = [(is_half, ", half of it written"), (is_lasting, " and from there on")];
        more.iter()
            .filter(|(is_set, _)| **is_set)
            .try_for_each(|(_, words)| formatter.write_str(words))
    }
}
