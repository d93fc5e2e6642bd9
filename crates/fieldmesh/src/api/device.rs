//! Which device a person means, and what to know before it is shut out.

use super::{Class, DeviceReport, Problem};

/// The shortest end of an id that means its device: a shorter one is more likely a name.
const ENDING_LENGTH_MIN: usize = 4;

impl DeviceReport {
    /// The device with this id, this name or this end of an id; of several with one name the one
    /// that `is_meant`, if it is one.
    ///
    /// What is an id or a name is never taken for the end of another device's id.
    ///
    /// # Errors
    ///
    /// There is none, or there are several; the text names them.
    pub fn named<'a>(
        devices: &'a [Self],
        name: &str,
        is_meant: impl Fn(&Self) -> bool,
    ) -> Result<&'a Self, Problem> {
        let wanted = name.trim();
        let problem = |class, detail| Problem { class, detail, faults: Vec::new() };
        let known = devices.iter().map(|device| (device.device.to_string(), device.name.as_str()));
        let mut found: Vec<&Self> =
            meant(known, wanted).into_iter().map(|index| &devices[index]).collect();
        if found.iter().filter(|device| is_meant(device)).count() == 1 {
            found.retain(|device| is_meant(device));
        }
        match found.as_slice() {
            [device] => Ok(*device),
            [] => Err(problem(Class::NotFound, format!("there is no device {wanted:?}"))),
            several => {
                let ids: Vec<String> = several.iter().map(|device| device.device.short()).collect();
                let ids = ids.join(", ");
                let detail = format!("{wanted:?} names several devices: {ids}; give an id");
                Err(problem(Class::Invalid, detail))
            }
        }
    }

    /// Whether it belongs to the tenant still.
    pub const fn is_member(&self) -> bool {
        self.revoked.is_none()
    }

    /// The name and the address of its person, as far as they are known.
    pub fn person(&self) -> String {
        let name = one_line(&self.user);
        match self.email.as_deref().map(one_line) {
            None => name,
            Some(email) if name.is_empty() || name == email => email,
            Some(email) => format!("{name} <{email}>"),
        }
    }

    /// What somebody should know before revoking it.
    pub fn revoke_question(&self, wipe: bool) -> String {
        let person = self.person();
        let mut text = format!(
            "{} (…{}{}{person}) is shut out for good. The {} {} of it that are here go on \
             counting; what it did besides does not until `fieldmesh devices adopt` says so.",
            one_line(&self.name),
            self.device.short(),
            if person.is_empty() { "" } else { ", " },
            self.batches,
            if self.batches == 1 { "batch" } else { "batches" },
        );
        if self.founder {
            text.push_str(
                " It made this tenant and holds its authority, which a revocation does not take \
                 away: nobody else can invite, and whoever has it can still sign for the tenant.",
            );
        }
        if wipe {
            text.push_str(" It erases its home when it learns of it.");
        }
        text
    }
}

/// Which of the devices, each an id and a name, `wanted` means: the one with this id, or else all
/// with this name, or else all with it in other letters, or else all whose id ends so.
pub(crate) fn meant<'a>(
    devices: impl Iterator<Item = (String, &'a str)>,
    wanted: &str,
) -> Vec<usize> {
    let id = wanted.to_ascii_lowercase();
    let mut found: [Vec<usize>; 4] = Default::default();
    for (index, (device, name)) in devices.enumerate() {
        if device == id {
            found[0].push(index);
        } else if name == wanted {
            found[1].push(index);
        } else if name.to_lowercase() == wanted.to_lowercase() {
            found[2].push(index);
        } else if id.len() >= ENDING_LENGTH_MIN && device.ends_with(&id) {
            found[3].push(index);
        }
    }
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

/// `text` without line breaks and other characters that would move a terminal's cursor.
pub fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::{DeviceId, Role};

    use super::super::RevokedReport;
    use super::*;

    fn device(byte: u8, name: &str) -> DeviceReport {
        DeviceReport {
            device: DeviceId::from_bytes([byte; 32]),
            name: name.into(),
            user: "Ana".into(),
            email: Some("ana@example.com".into()),
            role: Role::Operator,
            this: false,
            batches: 1,
            last_change: None,
            last_contact: None,
            aside: 0,
            founder: false,
            traffic: None,
            revoked: None,
        }
    }

    fn revoked(byte: u8, name: &str) -> DeviceReport {
        let revoked = Some(RevokedReport { reason: String::new(), wipe: false, by: None });
        DeviceReport { revoked, ..device(byte, name) }
    }

    fn named<'a>(devices: &'a [DeviceReport], name: &str) -> Result<&'a DeviceReport, Class> {
        DeviceReport::named(devices, name, DeviceReport::is_member).map_err(|error| error.class)
    }

    #[test]
    fn a_device_is_found_by_name_or_end_of_id_and_never_guessed() {
        let devices = [device(0xaa, "office"), device(0xbb, "truck-7")];
        assert_eq!(named(&devices, "truck-7"), Ok(&devices[1]));
        assert_eq!(named(&devices, "Truck-7"), Ok(&devices[1]));
        let id = devices[0].device.to_string();
        assert_eq!(named(&devices, &id[56..]), Ok(&devices[0]));
        for wanted in ["", "nobody", "aaa"] {
            assert_eq!(named(&devices, wanted), Err(Class::NotFound), "{wanted}");
        }
        let twins = [devices[0].clone(), devices[0].clone()];
        assert_eq!(named(&twins, "office"), Err(Class::Invalid));
    }

    #[test]
    fn a_name_that_was_used_again_never_revokes_the_new_device() {
        let devices = [revoked(0xaa, "truck-7"), device(0xbb, "truck-7")];
        assert_eq!(named(&devices, "truck-7"), Ok(&devices[1]));
        let former = DeviceReport::named(&devices, "truck-7", |it| !it.is_member());
        assert_eq!(former.unwrap(), &devices[0]);
    }

    #[test]
    fn a_member_whose_id_ends_like_the_name_of_a_revoked_device_is_not_shut_out_for_it() {
        for name in ["7", "7777"] {
            let devices = [revoked(0xaa, name), device(0x77, "truck")];
            assert_eq!(named(&devices, name), Ok(&devices[0]));
        }
        // Nor can anybody hide behind the id of another by taking it for a name.
        let id = DeviceId::from_bytes([0xaa; 32]).to_string();
        let devices = [device(0xaa, "office"), device(0xbb, &id)];
        assert_eq!(named(&devices, &id), Ok(&devices[0]));
    }

    #[test]
    fn a_device_is_revoked_knowingly() {
        let question =
            DeviceReport { founder: true, ..device(0xbb, "truck\n7") }.revoke_question(true);
        assert!(question.starts_with(
            "truck 7 (…bbbbbbbb, Ana <ana@example.com>) is shut out for good. The 1 batch of it"
        ));
        for part in ["`fieldmesh devices adopt`", "holds its authority", "It erases its home"] {
            assert!(question.contains(part), "{part:?} is not in\n{question}");
        }
    }
}
