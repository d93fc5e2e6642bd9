//! The first inputs of every corpus: what honest participants write.

use ed25519_dalek::SigningKey;
use fieldmesh_batch::{Batch, Draft, Leaf, Priority};
use fieldmesh_document::{CreateRecord, Document, actor, identify, root_change};
use fieldmesh_identity::x509::{CertificateName, anchor_key};
use fieldmesh_identity::{
    Authority, Certificate, DeviceKeys, Invitation, JoinAnswer, JoinRequest, JoinSecret, Seed,
    found,
};
use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::{
    BatchId, DeviceId, DocumentId, Edit, Epoch, Fields, Moment, Role, Scope, TenantId, UserId,
    Value,
};
use fieldmesh_trie::wire::WireKey;
use fieldmesh_trie::{Form, Key, Trie, Want, encode, encode_wants, first_answer};

use crate::{conversation, decoders, disk};

const AT: Moment = Moment::from_millis(1_770_000_000_000);

/// The decoder, the name of the file and its bytes.
type Seeds = Vec<(&'static str, String, Vec<u8>)>;

pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    batches(&mut seeds);
    identities(&mut seeds);
    conversations(&mut seeds);
    tries(&mut seeds);
    texts(&mut seeds);
    for (index, (name, bytes)) in disk::files().contents().into_iter().enumerate() {
        let which = u8::try_from(index).unwrap();
        for place in [0, 255] {
            let name = format!("{}-{place}", name.replace('/', "-"));
            seeds.push(("log", name, [&[which, place][..], &bytes].concat()));
        }
    }
    seeds
}

fn changes() -> Vec<Vec<u8>> {
    let collection = catalogue::numbered(wells::FIELD_ENTRY).unwrap();
    let fields = Fields::from([
        ("wellId".to_owned(), "67e55044-10b1-426f-9247-bb680e5fe0c8".into()),
        ("entryType".to_owned(), "PRODUCTION".into()),
        ("recordedAt".to_owned(), AT.into()),
        ("data.oilVolume".to_owned(), Value::Float(82.5)),
        ("notes".to_owned(), "pump ran".into()),
        ("photos".to_owned(), vec!["/upload/1", "/upload/2"].into()),
    ]);
    let user = UserId::from_bytes([1; 16]);
    let device = device_key();
    let device = DeviceId::of_key(device.verifying_key().as_bytes());
    let identity = identify(collection, user, AT, &fields, b"", [0; 16]);
    let record = CreateRecord {
        id: identity.id,
        key: &identity.key,
        collection,
        scope: Scope::of(wells::FIELD_ENTRY, 0, AT),
        user,
        device,
        actor: actor(device, Epoch(1)),
        at: AT,
        created_at: None,
        zone: Some("+01:00"),
        replaces: None,
        fields: &fields,
    };
    let root = root_change(&record).unwrap().bytes;
    let mut document = Document::load(identity.id, [root.as_slice()]).unwrap();
    let edits = [Edit::set("notes", "the pump ran"), Edit::set("data.oilVolume", 83)];
    let edit = document.edit(collection, actor(device, Epoch(1)), AT, &edits).unwrap().unwrap();
    vec![root, edit]
}

fn device_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn batches(seeds: &mut Seeds) {
    let changes = changes();
    let key = device_key();
    let draft = Draft {
        tenant: TenantId::from_bytes([9; 32]),
        scope: Scope::of(wells::FIELD_ENTRY, 0, AT),
        author: DeviceId::of_key(key.verifying_key().as_bytes()),
        epoch: Epoch(1),
        sequence: 1,
        previous: BatchId::default(),
        priority: Priority::default(),
        first: AT,
        last: AT,
        leaves: changes
            .iter()
            .map(|change| Leaf {
                document: DocumentId::from_bytes([1; 16]),
                change: change.clone(),
            })
            .collect(),
    };
    let batch = Batch::seal(draft, &key, [0; 16]).unwrap();
    seeds.push(("batch", "two-changes".into(), batch.encode()));
    seeds.push(("change", "both".into(), changes.concat()));
    for (change, name) in changes.into_iter().zip(["root", "edit"]) {
        seeds.push(("change", name.into(), change));
    }
}

fn identities(seeds: &mut Seeds) {
    let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
    let device = DeviceKeys::from_seed(&Seed::from_bytes([2; 32]));
    let certificate =
        Certificate::new(device.public_key(), "tablet 7", UserId::from_bytes([1; 16]), Role::Admin);
    let founding = found(&authority, [3; 32], "Nordfeld", &certificate).unwrap();
    for (item, name) in founding.items.iter().zip(["genesis", "certificate"]) {
        seeds.push(("item", name.into(), item.encode().to_vec()));
    }
    let invitation = Invitation {
        tenant: founding.tenant,
        authority: authority.public_key(),
        secret: JoinSecret::from_bytes([4; 16]),
        expires: AT,
        role: Role::Admin,
        tenant_name: "Nordfeld".to_owned(),
        email: String::new(),
        addresses: vec!["192.0.2.7:4433".to_owned()],
    };
    seeds.push(("invitation", "one-address".into(), invitation.to_text().into_bytes()));
    let request = JoinRequest::new(&invitation, &[6; 32], &device, "tablet 7");
    seeds.push(("join", "request".into(), request.encode()));
    let refused = JoinAnswer::Refused(fieldmesh_identity::JoinRefusal::UnknownInvitation);
    seeds.push(("join", "refusal".into(), refused.encode()));
    let name = CertificateName { tenant: founding.tenant, device: device.device() };
    seeds.push(("certificate", "name".into(), name.to_dns_name().into_bytes()));
    seeds.push(("certificate", "key".into(), anchor_key(&device.public_key()).to_vec()));
    for (index, der) in founding.chain.into_iter().enumerate() {
        seeds.push(("certificate", format!("chain-{index}"), der));
    }
}

/// A message has its length in front; the first one is the greeting.
fn conversations(seeds: &mut Seeds) {
    let [dialled, dialled_data, accepted, accepted_data] = conversation::honest();
    for (control, data, reader) in [(dialled, dialled_data, 0_u8), (accepted, accepted_data, 1)] {
        let first = first_length(&control);
        let name = if reader == 0 { "from-dialler" } else { "from-accepter" };
        seeds.push(("hello", name.into(), [&[reader][..], &control].concat()));
        seeds.push(("control", name.into(), [&[reader][..], &control[first..]].concat()));
        seeds.push(("data", name.into(), [&[reader][..], &data].concat()));
    }
}

/// The length of the first message with what says it.
fn first_length(control: &[u8]) -> usize {
    let bytes = control.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let length =
        control[..=bytes].iter().rev().fold(0, |sum, byte| (sum << 7) | usize::from(byte & 0x7f));
    bytes + 1 + length
}

fn tries(seeds: &mut Seeds) {
    for count in [3_u64, 40, 2_000] {
        let mut trie = Trie::default();
        for index in 0..count {
            let id = *blake3::hash(&index.to_be_bytes()).as_bytes();
            trie.insert(Key::new([0, 1, 0, 0, 0, 0, 9, 9], index * 1_000, id));
        }
        trie.rehash();
        let nodes = first_answer(&trie, &WireKey([7; 32]), Form::Summed);
        seeds.push(("nodes", format!("{count}-keys"), encode(&nodes)));
    }
    let want = |node| Want { node, bits: vec![0b1010_0000, 1] };
    seeds.push(("wants", "three".into(), encode_wants(&[want(0), want(3), want(900)])));
}

fn texts(seeds: &mut Seeds) {
    let mut push = |decoder, name: &str, text: &str| {
        seeds.push((decoder, name.to_owned(), text.as_bytes().to_vec()));
    };
    push("mapping", "well", decoders::MAPPING);
    push("import", "wells.csv", "api,a\n4222730001,\"North, 7\"\n\"x\"\"y\",\r\n");
    push("import", "entries.csv", "wellId,data.oilVolume,recordedAt\nw,1.5,2026-01-02T03:04:05Z\n");
    push(
        "import",
        "rows.jsonl",
        "{\"api\":\"4222730001\",\"data\":{\"oilVolume\":1e3}}\n\n{\"a\":[1,\"b\"]}\n",
    );
    push(
        "request",
        "record",
        "{\"collection\":\"well\",\"fields\":{\"data\":{\"a\":[1,true,null]},\"a\\\\.b\":\"c\"}}",
    );
    push("request", "import", "{\"format\":\"csv\",\"collection\":\"well\",\"mapping\":null}");
    for (index, text) in [
        "oilVolume=82.5",
        "photos+=/upload/1",
        "recordedAt=yesterday 7:30",
        "data.x:={\"a\":1}",
        "2026-02-29",
        "2026-01-02T03:04:05.678+01:00",
        "notes=",
    ]
    .into_iter()
    .enumerate()
    {
        push("assignment", &index.to_string(), text);
    }
    push("mapping", "expressions", EXPRESSIONS);
}

const EXPRESSIONS: &str = r#"
[[record]]
collection = "field_entry"
skip_if = "a == '' or not (b > 3)"
[record.fields]
"data.oilVolume" = "convert(number(a) * 2 - 1, 'bbl', 'm3')"
recordedAt = "date(c, 'YYYY-MM-DD')"
notes = "concat('well ', api, if(a > 1, ' x', ' y'))"
"#;
