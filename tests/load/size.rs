//! How much a run does, as the command line says it.

use std::fmt;
use std::time::Duration;

/// How much a run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) tenants: usize,
    /// Devices of all tenants together; each tenant has at least one.
    pub(crate) devices: usize,
    /// How long devices and apps go on; each device comes once at the least.
    pub(crate) minutes: u64,
    pub(crate) seed: u64,
}

impl Size {
    /// That of the arguments, of which those left out are small; nothing where cargo only lists.
    pub(crate) fn asked(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut size = Self { tenants: 12, devices: 60, minutes: 0, seed: 1 };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let number = arguments.next().and_then(|text| text.parse::<u64>().ok());
                number.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                "--tenants" => size.tenants = usize::try_from(number()).unwrap().max(1),
                "--devices" => size.devices = usize::try_from(number()).unwrap(),
                "--minutes" => size.minutes = number(),
                "--seed" => size.seed = number(),
                "--list" => return None,
                // Cargo hands on what is meant for other tests as well.
                _ => {}
            }
        }
        size.devices = size.devices.max(size.tenants);
        Some(size)
    }

    /// How long devices and apps go on.
    pub(crate) const fn time(&self) -> Duration {
        Duration::from_secs(self.minutes * 60)
    }

    /// How many tenants the relay may hold open: some are closed and opened all the time.
    pub(crate) fn open_tenants_max(&self) -> usize {
        (self.tenants * 3 / 4).max(1)
    }

    /// The tenants that an app listens to; so many can never be closed.
    pub(crate) fn listeners(&self) -> usize {
        self.tenants.div_ceil(8)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenants, devices, minutes, seed } = self;
        write!(
            formatter,
            "--tenants {tenants} --devices {devices} --minutes {minutes} --seed {seed}"
        )
    }
}
