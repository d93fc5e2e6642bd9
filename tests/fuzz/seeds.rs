//! The first inputs of every corpus: what honest participants write.

use ed25519_dalek::SigningKey;
use fieldmesh_batch::{Batch, Draft, Leaf, Priority, Receipt, pack};
use fieldmesh_document::{CreateRecord, Document, actor, identify, root_change};
use fieldmesh_identity::x509::{CertificateName, anchor_key};
use fieldmesh_identity::{
    Adoption, Authority, Certificate, ChainHead, Claim, ClaimOffer, ClaimReply, ClaimSecret, Cut,
    DeviceKeys, Founding, Invitation, Item, ItemPlace, JoinAnswer, JoinRequest, JoinSecret, Pin,
    Purge, RelayAddress, Revocation, Seed, Statement, found,
};
use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::{
    BatchId, DeviceId, DocumentId, Edit, Epoch, Fields, Filter, Moment, Region, Role, Scope,
    StoreId, TenantId, UserId, Value,
};
use fieldmesh_store::{DataKey, DataKeys, KeyFile, WrappedKey};
use fieldmesh_trie::wire::WireKey;
use fieldmesh_trie::{Form, Key, Trie, Want, encode, encode_wants, first_answer};

use crate::{conversation, decoders, disk};

const AT: Moment = Moment::from_millis(1_770_000_000_000);

/// A question for the rest of a batch: one id, 300 bytes in all, 5 here.
const RESUME: [u8; 37] = {
    let mut bytes = [4; 37];
    (bytes[0], bytes[1]) = (0x0f, 1);
    (bytes[34], bytes[35], bytes[36]) = (0xac, 2, 5);
    bytes
};

/// The decoder, the name of the file and its bytes.
type Seeds = Vec<(&'static str, String, Vec<u8>)>;

pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    batches(&mut seeds);
    packed(&mut seeds);
    identities(&mut seeds);
    conversations(&mut seeds);
    tries(&mut seeds);
    texts(&mut seeds);
    scripts(&mut seeds);
    disks(&mut seeds);
    seeds
}

/// Files as a store, a home and a backup write them.
fn disks(seeds: &mut Seeds) {
    for (decoder, files) in [("log", disk::files()), ("blocks", disk::rewritten())] {
        for (index, (name, bytes)) in files.contents().into_iter().enumerate() {
            let which = u8::try_from(index).unwrap();
            for place in [0, 255] {
                let name = format!("{}-{place}", name.replace('/', "-"));
                seeds.push((decoder, name, [&[which, place][..], &bytes].concat()));
            }
        }
    }
    seeds.push(("backup", "nine-entries".into(), disk::backed_up().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::create(&folder.path().join("key")).unwrap();
    let keys = DataKeys::from(DataKey::from_bytes([42; 32])).rekeyed().unwrap();
    let wrapped = WrappedKey::by_key_file(keys.current(), &file).unwrap().to_bytes();
    seeds.push(("profile", "first".into(), [&b"fmh1"[..], &[5; 16], &wrapped].concat()));
    // One way, and keys beside it.
    let length = |bytes: &[u8]| [bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8];
    let beside = keys.seal_beside().unwrap().unwrap();
    let ways = [&[1][..], &length(&wrapped), &wrapped, &[1], &[beside.len() as u8], &beside];
    let mut second = [&b"fmh2"[..], &[5; 16], &ways.concat()].concat();
    second.extend(&blake3::hash(&second).as_bytes()[..8]);
    seeds.push(("profile", "second".into(), second));
    let mut newer = b"fmh3 from a later day".to_vec();
    newer.extend(&blake3::hash(&newer).as_bytes()[..8]);
    seeds.push(("profile", "third".into(), newer));
    seeds.push(("profile", "wrapped".into(), wrapped));
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
        name: None,
        made_for: None,
        fields: &fields,
    };
    let root = root_change(&record).unwrap().bytes;
    let mut document = Document::load(identity.id, [root.as_slice()]).unwrap();
    let edits = [Edit::set("notes", "the pump ran"), Edit::set("data.oilVolume", 83)];
    let edit = document.edit(collection, actor(device, Epoch(1)), AT, &edits).unwrap().unwrap();
    vec![root, edit]
}

/// A morning's entries of one device, as they lie in one batch, and an edit of another's.
fn morning() -> Vec<Leaf> {
    let collection = catalogue::numbered(wells::FIELD_ENTRY).unwrap();
    let user = UserId::from_bytes([1; 16]);
    let device = DeviceId::of_key(device_key().verifying_key().as_bytes());
    let entry = |number: u8| {
        let at = Moment::from_millis(AT.as_millis() + i64::from(number) * 61_000);
        let well = format!("67e55044-10b1-426f-9247-bb680e5fe0{:02x}", number % 3);
        let notes = ["pump ran", "a leak, größer", "", "tank gauge reading normal"];
        let fields = Fields::from([
            ("wellId".to_owned(), Value::Text(well)),
            ("entryType".to_owned(), "PRODUCTION".into()),
            ("recordedAt".to_owned(), at.into()),
            ("deviceId".to_owned(), Value::Text(device.to_string())),
            ("data.oilVolume".to_owned(), Value::Float(82.5 + f64::from(number) / 4.0).canonical()),
            ("latitude".to_owned(), Value::Float(31.012_345 + f64::from(number))),
            ("longitude".to_owned(), Value::Float((f64::from(number) + 2.0).sqrt())),
            ("notes".to_owned(), notes[usize::from(number) % 4].into()),
        ]);
        let identity = identify(collection, user, at, &fields, b"", [0; 16]);
        let record = CreateRecord {
            id: identity.id,
            key: &identity.key,
            collection,
            scope: Scope::of(wells::FIELD_ENTRY, 0, AT),
            user,
            device,
            actor: actor(device, Epoch(1)),
            at: Moment::from_millis(AT.as_millis() + 9_000_000 + i64::from(number)),
            created_at: None,
            zone: None,
            replaces: None,
            name: None,
            made_for: None,
            fields: &fields,
        };
        let change = root_change(&record).unwrap().bytes;
        Leaf { document: identity.id, change }
    };
    let edit = Leaf { document: DocumentId::from_bytes([1; 16]), change: changes().remove(1) };
    (0..10).map(entry).chain([edit]).collect()
}

/// Batches to be packed, and what they are packed into.
fn packed(seeds: &mut Seeds) {
    let leaves = morning();
    let opaque = vec![Leaf { change: vec![7; 900], ..leaves[0].clone() }];
    let batches = [("few", leaves[8..].to_vec()), ("morning", leaves), ("opaque", opaque)];
    for (name, leaves) in batches {
        let batch = sealed(leaves);
        for (kind, bytes) in [("signed", batch.encode()), ("unsigned", batch.encode_unsigned())] {
            let name = format!("{name}-{kind}");
            seeds.extend(pack(&bytes).map(|packed| ("unpack", name.clone(), packed)));
            seeds.push(("pack", name, bytes));
        }
    }
}

fn device_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn sealed(leaves: Vec<Leaf>) -> Batch {
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
        leaves,
    };
    Batch::seal(draft, &key, [0; 16]).unwrap()
}

fn batches(seeds: &mut Seeds) {
    let changes = changes();
    let leaf = |change: &Vec<u8>| Leaf {
        document: DocumentId::from_bytes([1; 16]),
        change: change.clone(),
    };
    let batch = sealed(changes.iter().map(leaf).collect());
    seeds.push(("batch", "two-changes".into(), batch.encode()));
    if let Some(gap) = batch.erase(0) {
        seeds.push(("batch", "one-erased".into(), gap.encode()));
    }
    seeds.push(("batch", "unsigned".into(), batch.encode_unsigned()));
    let heads = [batch.key_bytes(), [0xee; 46]];
    let receipt = Receipt::new(
        TenantId::from_bytes([9; 32]),
        batch.header().author,
        (StoreId::from_bytes([4; 16]), 2),
        AT,
        heads,
    );
    seeds.push(("receipt", "two-heads".into(), receipt.sign(&device_key())));
    let region = |collection, partition, since| Region { collection, partition, since };
    let filter = Filter::new([
        region(Some(3), None, 0),
        region(None, Some(7), 0),
        region(Some(4), Some(9), 670),
    ]);
    let regions = filter.unwrap().encode().into_iter();
    let regions = regions.map(|it| [&[u8::try_from(it.len()).unwrap()][..], &it].concat());
    seeds.push(("filter", "three-regions".into(), regions.collect::<Vec<_>>().concat()));
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
    statements(seeds, &authority, &founding, device.device());
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
    let secret = ClaimSecret::from_bytes([7; 16]);
    let offer = ClaimOffer { secret: secret.clone(), invitation: invitation.to_text() };
    seeds.push(("claim", "offer".into(), offer.encode()));
    let addresses = invitation.addresses.clone();
    let claim = Claim { relay: [5; 32], secret, expires: AT, addresses, role: Role::Relay };
    seeds.push(("claim", "text".into(), claim.to_text().into_bytes()));
    let gateway = Claim { role: Role::Gateway, ..claim };
    seeds.push(("claim", "gateway".into(), gateway.to_text().into_bytes()));
    let reply = ClaimReply::Request(Box::new(request));
    seeds.push(("claim", "request".into(), reply.encode()));
    let reply = ClaimReply::Refused(fieldmesh_identity::ClaimRefusal::Used);
    seeds.push(("claim", "refusal".into(), reply.encode()));
    let refused = JoinAnswer::Refused(fieldmesh_identity::JoinRefusal::UnknownInvitation);
    seeds.push(("join", "refusal".into(), refused.encode()));
    let name = CertificateName { tenant: founding.tenant, device: device.device() };
    seeds.push(("certificate", "name".into(), name.to_dns_name().into_bytes()));
    seeds.push(("certificate", "key".into(), anchor_key(&device.public_key()).to_vec()));
    for (index, der) in founding.chain.into_iter().enumerate() {
        seeds.push(("certificate", format!("chain-{index}"), der));
    }
}

fn statements(seeds: &mut Seeds, authority: &Authority, founding: &Founding, device: DeviceId) {
    let head = ChainHead {
        epoch: Epoch(1),
        scope: Scope::of(wells::FIELD_ENTRY, 0, AT),
        sequence: 5,
        batch: BatchId::from_bytes([8; 32]),
    };
    let revocation = Revocation {
        device,
        version: 1,
        heads: [head].into(),
        items: Some(Cut { sequence: 2, item: founding.items[1].id() }),
        remaining: Some(Role::Operator),
        wipe: true,
        reason: "lost".into(),
    };
    let pin = Pin {
        document: DocumentId::from_bytes([1; 16]),
        actor: [2; 16],
        sequence: 3,
        change: [4; 32],
    };
    let purge = Purge {
        document: DocumentId::from_bytes([1; 16]),
        leaves: [[3; 32], [4; 32]].into(),
        at: AT,
        reason: "asked for".into(),
    };
    let (address, version) = ("relay.example.org:7843".to_owned(), 3);
    let relay = RelayAddress { address, version, relay: Some(device), at: AT };
    for (name, statement) in [
        ("relay", Statement::Relay(relay)),
        ("purge", Statement::Purge(Box::new(purge))),
        ("revocation", Statement::Revocation(Box::new(revocation))),
        ("adoption", Statement::Adoption(Adoption { device, heads: [head].into() })),
        ("pin", Statement::Pin(pin)),
    ] {
        let place = ItemPlace { sequence: 2, previous: Some(founding.items[1].id()) };
        let item = Item::sign(authority, founding.tenant, place, &statement).unwrap();
        seeds.push(("item", name.into(), item.encode().to_vec()));
    }
}

/// A message has its length in front; the first one is the greeting.
fn conversations(seeds: &mut Seeds) {
    for (version, manner) in [(2, 0_u8), (1, 2)] {
        for (side, written) in conversation::honest(version).into_iter().enumerate() {
            let name = ["from-dialler", "from-accepter"][side];
            let name = if version == 1 { format!("{name}-1") } else { name.to_owned() };
            // The reader of what the dialler writes is the accepting side.
            let manner = manner | u8::try_from(side).unwrap();
            let control = &written.control;
            let after = &control[first_length(control)..];
            seeds.push(("hello", name.clone(), [&[manner][..], control].concat()));
            seeds.push(("control", name.clone(), [&[manner][..], after].concat()));
            for (lane, stream) in (0_u8..).zip(&written.lanes) {
                if !stream.is_empty() {
                    let input = [&[manner, lane][..], stream].concat();
                    seeds.push(("data", format!("{name}-lane-{lane}"), input));
                }
            }
        }
    }
    let messages: [&[u8]; 6] =
        [&RESUME, &[0x0e; 15], &[0x10, 0], &[0x11, 1, 2, 7, 8], &[0x0a], &[0x05]];
    for (index, message) in messages.into_iter().enumerate() {
        let length = u8::try_from(message.len()).unwrap();
        for manner in 0..2 {
            let input = [&[manner, length][..], message].concat();
            seeds.push(("control", format!("message-{index}-{manner}"), input));
        }
    }
    for (index, kind) in [1_u8, 2, 3, 4, 6].into_iter().enumerate() {
        let frame = |length: u8| [&[kind, length][..], &vec![9; usize::from(length)]].concat();
        let input = [&[0, u8::try_from(index % 3).unwrap()][..], &frame(60), &frame(1)].concat();
        seeds.push(("frames", format!("kind-{kind}"), input));
    }
    seeds.push(("frames", "two-parts".into(), [&[0, 1][..], &part(0), &part(10)].concat()));
}

/// A frame with ten bytes of a batch of twenty.
fn part(offset: u8) -> Vec<u8> {
    let head = [&[5, 51, 2][..], &[4; 32], &[0, 0, 0, 20, 0, 0, 0, offset]].concat();
    [head, vec![6; 10]].concat()
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
        let nodes = first_answer(&trie, &WireKey::new([7; 32], Form::Summed));
        seeds.push(("nodes", format!("{count}-keys"), encode(&nodes, Form::Summed)));
    }
    let want = |node| Want { node, bits: vec![0b1010_0000, 1] };
    seeds.push(("wants", "three".into(), encode_wants(&[want(0), want(3), want(900)])));
}

/// Steps of a replica, see `replica.rs`.
fn scripts(seeds: &mut Seeds) {
    let step = |kind: u8, content: &[u8]| {
        [&[kind, 0, u8::try_from(content.len()).unwrap()][..], content].concat()
    };
    let chain = [step(5, &[1, 0, 0xb0, 0, 1, 1]), step(5, &[1, 0, 0, 0, 2, 1])].concat();
    let unsigned = [step(5, &[2, 9, 0xb0, 0, 1, 0x81]), step(5, &[2, 0, 0, 0, 2, 1])].concat();
    let fork = [step(5, &[1, 0, 0, 0, 2, 1]), step(5, &[1, 0, 0, 0, 3, 1])].concat();
    let revoke = step(7, &[0, 2, 1, 0b10, 0, 1]);
    let adopt = step(7, &[1, 3, 1, 0b100, 0, 1]);
    let certify = step(7, &[0, 0, 3, 0, 2, 1]);
    let stranger = [step(5, &[3, 9, 0xb0, 0, 1, 1]), certify].concat();
    let receipt = step(12, &[1, 0xff, 2, 1, 0, 0]);
    let local = [step(9, &[0, 9, 0xb0, 0, 1]), step(4, &[9, 9])].concat();
    let slow = [step(11, &[1]), chain.clone(), step(11, &[0])].concat();
    for (name, first, steps) in [
        ("chain-and-receipt", 0, vec![&chain, &receipt, &local]),
        ("revoked-and-adopted", 1, vec![&chain, &fork, &revoke, &adopt]),
        ("unsigned", 0, vec![&unsigned, &receipt]),
        ("stranger", 1, vec![&stranger, &local]),
        ("slow", 0, vec![&slow, &step(10, &[5]), &step(13, &[0, 1])]),
        ("version-1", 4, vec![&step(5, &[1, 0, 0xb0, 0, 1, 0b101]), &local, &step(13, &[0, 1])]),
        ("revoked-before", 0, vec![&revoke, &chain, &adopt, &fork]),
    ] {
        let steps: Vec<u8> = steps.into_iter().flatten().copied().collect();
        seeds.push(("replica", name.into(), [&[first][..], &steps].concat()));
    }
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
    push("request", "revoke", "{\"reason\":\"lost\",\"wipe\":true}");
    push(
        "request",
        "sync",
        "{\"timeout\":{\"secs\":9,\"nanos\":0},\"mdns\":true,\"only\":[\"well/3@2026-01\"]}",
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
