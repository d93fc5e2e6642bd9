//! Everything that reads bytes of others, each as a function of those bytes.
//!
//! A function returns for whatever it is given; a panic, a hang or a large allocation is a fault.
//! What was read and written again has to be the same.

use std::io::Cursor;

use fieldmesh::api;
use fieldmesh::import::{Import, Mapping};
use fieldmesh_batch::{Batch, Receipt, pack, unpack};
use fieldmesh_document::gate::Origin;
use fieldmesh_document::{Document, judge, peek};
use fieldmesh_identity::x509::{CertificateName, public_key_of};
use fieldmesh_identity::{
    Claim, ClaimOffer, ClaimReply, Invitation, Item, JoinAnswer, JoinRequest,
};
use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::input::{self, Assignment, Clock};
use fieldmesh_model::{
    Collection, DeviceId, DocumentId, Epoch, Filter, Moment, Role, Scope, UserId,
};
use fieldmesh_session::limits::DATA_FRAME_MAX;
use fieldmesh_trie::{Form, decode, decode_wants, encode, encode_wants};

use crate::{conversation, disk, replica};

/// One of them.
pub(crate) struct Decoder {
    /// The folder of its corpus.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
}

/// All of them.
pub(crate) const DECODERS: [Decoder; 26] = [
    Decoder { name: "assignment", run: assignment },
    Decoder { name: "backup", run: disk::backup },
    Decoder { name: "batch", run: batch },
    Decoder { name: "blocks", run: disk::blocks },
    Decoder { name: "certificate", run: certificate },
    Decoder { name: "change", run: change },
    Decoder { name: "claim", run: claim },
    Decoder { name: "control", run: conversation::control },
    Decoder { name: "data", run: conversation::data },
    Decoder { name: "filter", run: filter },
    Decoder { name: "frames", run: conversation::frames },
    Decoder { name: "hello", run: conversation::hello },
    Decoder { name: "import", run: import },
    Decoder { name: "invitation", run: invitation },
    Decoder { name: "item", run: item },
    Decoder { name: "join", run: join },
    Decoder { name: "log", run: disk::log },
    Decoder { name: "mapping", run: mapping },
    Decoder { name: "nodes", run: nodes },
    Decoder { name: "pack", run: packing },
    Decoder { name: "profile", run: disk::profile },
    Decoder { name: "receipt", run: receipt },
    Decoder { name: "replica", run: replica::replica },
    Decoder { name: "request", run: request },
    Decoder { name: "unpack", run: unpacking },
    Decoder { name: "wants", run: wants },
];

fn entries() -> &'static Collection {
    catalogue::numbered(wells::FIELD_ENTRY).expect("the catalogue has field entries")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn batch(bytes: &[u8]) {
    let Ok(batch) = Batch::decode(bytes) else { return };
    assert_eq!(batch.encode(), bytes, "a batch is one sequence of bytes");
    let unsigned = Batch::decode(&batch.encode_unsigned());
    assert!(unsigned.is_ok_and(|it| it.id() == batch.id() && !it.is_signed()));
    batch.leaves().iter().for_each(|leaf| change(&leaf.change));
}

fn packing(bytes: &[u8]) {
    if let Some(packed) = pack(bytes) {
        assert!(packed.len() < bytes.len(), "packing saves bytes");
        assert_eq!(unpack(&packed).as_deref(), Ok(bytes), "what is packed comes back");
    }
}

/// What a peer sends as packed: it may become no more than the limits of a batch allow.
fn unpacking(bytes: &[u8]) {
    let Ok(batch) = unpack(bytes) else { return };
    assert!(batch.len() <= DATA_FRAME_MAX, "a batch has its limits");
    packing(&batch);
}

fn receipt(bytes: &[u8]) {
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert_eq!(receipt.encode(), bytes, "a receipt is one sequence of bytes");
    }
}

/// The regions of a filter, each behind its length.
fn filter(bytes: &[u8]) {
    let (mut regions, mut rest) = (Vec::new(), bytes);
    while let Some((length, behind)) = rest.split_first() {
        let (region, next) = behind.split_at(behind.len().min(usize::from(*length)));
        regions.push(region.to_vec());
        rest = next;
    }
    if let Ok(filter) = Filter::decode(&regions) {
        assert_eq!(Filter::decode(&filter.encode()), Ok(filter));
    }
}

fn item(bytes: &[u8]) {
    if let Ok(item) = Item::decode(bytes) {
        assert_eq!(item.encode(), bytes, "an item is one sequence of bytes");
    }
}

fn certificate(bytes: &[u8]) {
    let _ = public_key_of(bytes);
    if let Some(name) = CertificateName::from_dns_name(text(bytes)) {
        assert_eq!(CertificateName::from_dns_name(&name.to_dns_name()), Some(name));
    }
}

fn invitation(bytes: &[u8]) {
    if let Ok(invitation) = text(bytes).parse::<Invitation>() {
        let again = invitation.to_text().parse::<Invitation>();
        assert!(again.is_ok_and(|again| again == invitation));
    }
}

/// A claim as text, and what is said over its line.
fn claim(bytes: &[u8]) {
    if let Ok(claim) = text(bytes).parse::<Claim>() {
        assert_eq!(claim.to_text().parse::<Claim>(), Ok(claim));
    }
    if let Some(offer) = ClaimOffer::decode(bytes) {
        assert_eq!(offer.encode(), bytes, "an offer is one sequence of bytes");
    }
    if let Some(reply) = ClaimReply::decode(bytes) {
        assert_eq!(reply.encode(), bytes, "a reply is one sequence of bytes");
    }
}

fn join(bytes: &[u8]) {
    if let Some(request) = JoinRequest::decode(bytes) {
        assert_eq!(request.encode(), bytes, "a request is one sequence of bytes");
    }
    if let Some(answer) = JoinAnswer::decode(bytes) {
        assert_eq!(answer.encode(), bytes, "an answer is one sequence of bytes");
    }
}

fn nodes(bytes: &[u8]) {
    for form in [Form::Plain, Form::Summed] {
        if let Ok(nodes) = decode(bytes, form) {
            assert_eq!(decode(&encode(&nodes, form), form), Ok(nodes));
        }
    }
}

fn wants(bytes: &[u8]) {
    if let Ok(wants) = decode_wants(bytes) {
        assert_eq!(encode_wants(&wants), bytes, "wants are one sequence of bytes");
    }
}

/// A change of a document: only what the gate reads is ever given to Automerge, whose bundles unpack
/// without a limit.
fn change(bytes: &[u8]) {
    if peek(bytes).is_err() {
        return;
    }
    let id = DocumentId::from_bytes([1; 16]);
    if let Ok(document) = Document::load(id, [bytes]) {
        let _ = document.view(entries());
        let _ = document.conflicts(entries());
        let _ = document.history(entries());
    }
    let origin = Origin {
        document: id,
        author: DeviceId::from_bytes([1; 32]),
        epoch: Epoch(1),
        scope: Scope::of(wells::FIELD_ENTRY, 0, Moment::ZERO),
        user: UserId::from_bytes([1; 16]),
        is_gateway: false,
    };
    let _ = judge(bytes, &[], &origin);
}

fn import(bytes: &[u8]) {
    let rows = |mapping: &Mapping| {
        if let Ok(import) = Import::open(Cursor::new(bytes.to_vec()), mapping) {
            import.take_while(Result::is_ok).for_each(drop);
        }
    };
    rows(&Mapping::identity("field_entry"));
    if let Ok(mapping) = Mapping::parse(MAPPING) {
        rows(&mapping);
    }
}

/// A mapping, with all its expressions worked out for a few rows.
fn mapping(bytes: &[u8]) {
    let Ok(mapping) = Mapping::parse(text(bytes)) else { return };
    for file in [&b"api,a,b,c\n4222730001,1,2,2011-02-03\nx,,-9e99,y\n"[..], br#"{"a":1,"b":"2"}"#]
    {
        if let Ok(import) = Import::open(file, &mapping) {
            import.take_while(Result::is_ok).for_each(drop);
        }
    }
}

/// What a client of the daemon may send.
fn request(bytes: &[u8]) {
    let _ = serde_json::from_slice::<api::NewRecord>(bytes);
    let _ = serde_json::from_slice::<api::Edits>(bytes);
    let _ = serde_json::from_slice::<api::ImportOptions>(bytes);
    let _ = serde_json::from_slice::<api::InviteOptions>(bytes);
    let _ = serde_json::from_slice::<api::SyncOptions>(bytes);
    let _ = serde_json::from_slice::<api::Resolution>(bytes);
    let _ = serde_json::from_slice::<api::ListQuery>(bytes);
    let _ = serde_json::from_slice::<api::ExportQuery>(bytes);
    let _ = serde_json::from_slice::<api::ConflictQuery>(bytes);
    let _ = serde_json::from_slice::<api::RevokeOptions>(bytes);
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    if let Ok(fields) = input::flatten(&json) {
        assert_eq!(input::flatten(&input::nest(&fields)), Ok(fields), "fields nest and flatten");
    }
}

/// What a person types: assignments, times, identifiers.
fn assignment(bytes: &[u8]) {
    let text = text(bytes);
    let clock = Clock { now: Moment::ZERO, offset_minutes: 60 };
    let _ = Assignment { collection: entries(), clock }.parse(text);
    let _ = input::parse_day(text);
    let _ = input::parse_when(text, Moment::ZERO, 60);
    let _ = text.parse::<Moment>();
    let _ = text.parse::<Role>();
    let _ = text.parse::<DocumentId>();
    let _ = text.parse::<DeviceId>();
}

/// The mapping of the corpus, also used to read files.
pub(crate) const MAPPING: &str = r#"
[[record]]
collection = "well"
[record.fields]
apiNumber = "digits(api, '2-3-5')"
name = "a"
"#;
