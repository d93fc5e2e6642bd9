//! The numbers of a plan by name, so that the command line can change them and shrink them.

use super::Plan;

/// What is wrong with a changed setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// It has the form `name=number`.
    #[error("{text:?} is not NAME=NUMBER")]
    Form {
        /// What was given.
        text: String,
    },
    /// No setting has this name.
    #[error("there is no setting {name:?}; there are {}", names().join(", "))]
    Name {
        /// What was given.
        name: String,
    },
    /// The number does not make sense.
    #[error("{name} is at least {min}")]
    Number {
        /// The setting.
        name: &'static str,
        /// Its least value.
        min: i64,
    },
}

/// One number of a plan.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    /// Less makes no sense.
    pub(crate) min: i64,
    pub(crate) read: fn(&Plan) -> i64,
    pub(crate) write: fn(&mut Plan, i64),
}

macro_rules! setting {
    ($name:literal, $min:literal, $($field:ident).+) => {
        Setting {
            name: $name,
            min: $min,
            read: |plan| plan.$($field).+,
            write: |plan, number| plan.$($field).+ = number,
        }
    };
}

/// A range that becomes a single number when it is set.
macro_rules! range {
    ($name:literal, $min:literal, $field:ident) => {
        Setting {
            name: $name,
            min: $min,
            read: |plan| plan.$field.1,
            write: |plan, number| plan.$field = (number.min(plan.$field.0), number),
        }
    };
}

/// Every setting, in the order in which shrinking tries them.
pub(crate) const ALL: [Setting; 33] = [
    setting!("tenants", 1, tenants),
    range!("devices", 2, devices),
    setting!("relays", 0, relays),
    setting!("newcomers", 0, newcomers),
    setting!("hostiles", 0, hostiles),
    setting!("forkers", 0, forkers),
    setting!("partials", 0, partials),
    setting!("partial-relays", 0, partial_relays),
    setting!("old", 0, old),
    setting!("revocations", 0, faults.revocations),
    setting!("adoptions", 0, faults.adoptions),
    setting!("purges", 0, faults.purges),
    setting!("evictions", 0, faults.evictions),
    setting!("admins", 0, admins),
    setting!("backfill", 0, backfill),
    range!("batches", 0, batches),
    setting!("common", 0, common),
    setting!("cuts", 0, faults.cuts),
    setting!("sleeps", 0, faults.sleeps),
    setting!("crashes", 0, faults.crashes),
    setting!("partitions", 0, faults.partitions),
    setting!("one-ways", 0, faults.one_ways),
    setting!("replays", 0, faults.replays),
    setting!("jumps", 0, faults.jumps),
    setting!("full-disks", 0, faults.full_disks),
    setting!("put-backs", 0, faults.put_backs),
    setting!("spoils", 0, faults.spoils),
    setting!("strangers", 0, faults.strangers),
    setting!("meetings", 0, meetings),
    setting!("slow-disk", 0, slow_disk),
    setting!("critical-once-in", 0, critical_once_in),
    setting!("large-once-in", 1, large_once_in),
    setting!("day-millis", 1_000, day_millis),
];

fn names() -> Vec<&'static str> {
    ALL.iter().map(|setting| setting.name).collect()
}

impl Plan {
    /// Changes one setting, written as `name=number`.
    ///
    /// # Errors
    ///
    /// There is no such setting, or it cannot have this value; nothing was changed.
    pub fn set(&mut self, text: &str) -> Result<(), SettingError> {
        let form = || SettingError::Form { text: text.to_owned() };
        let (name, number) = text.split_once('=').ok_or_else(form)?;
        let number: i64 = number.parse().map_err(|_| form())?;
        let unknown = || SettingError::Name { name: name.to_owned() };
        let setting = ALL.iter().find(|setting| setting.name == name).ok_or_else(unknown)?;
        if number < setting.min {
            return Err(SettingError::Number { name: setting.name, min: setting.min });
        }
        (setting.write)(self, number);
        Ok(())
    }

    /// What is different from the plan with its name, as the command line writes it.
    pub fn changes(&self) -> Vec<String> {
        let Some(original) = Self::named(self.name) else { return Vec::new() };
        ALL.iter()
            .filter(|setting| (setting.read)(self) != (setting.read)(&original))
            .map(|setting| format!("{}={}", setting.name, (setting.read)(self)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_plan_is_written_so_that_it_can_be_read_again() {
        for plan in Plan::all() {
            for setting in &ALL {
                let mut changed = plan.clone();
                (setting.write)(&mut changed, setting.min);
                let mut again = plan.clone();
                for change in changed.changes() {
                    again.set(&change).unwrap();
                }
                assert_eq!(again, changed, "{}", setting.name);
            }
        }
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_refused() {
        let mut plan = Plan::named("pair").unwrap();
        let before = plan.clone();
        for text in ["devices", "devices=1", "devices=x", "ghosts=3"] {
            assert!(plan.set(text).is_err(), "{text}");
        }
        assert_eq!(plan, before);
    }
}
