//! Goal: rows come out of any file exactly once, in order, and broken ones cost only themselves.
//! Method: whole files in memory, good, broken and hostile; then the mapping that is shipped.

use std::io::{Cursor, Read, Write};

use fieldmesh_model::Value;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const SHIPPED: &str = include_str!("../../../../examples/gom-production.toml");
const GOM_HEADER: &str = "apiNumber,completion,lease,areaBlock,field,operator,month,\
                          daysOnProduction,product,wellStatus,oilBbl,gasMcf,waterBbl\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn open(bytes: impl Into<Vec<u8>>) -> Result<Reader, FileError> {
    Reader::open(Cursor::new(bytes.into()))
}

fn refused(bytes: impl Into<Vec<u8>>) -> String {
    open(bytes).map(|_| ()).unwrap_err().to_string()
}

/// What each row gave: its number and cells, or its number and fault.
fn rows(bytes: impl Into<Vec<u8>>) -> Vec<String> {
    let show = |row: Result<Row, RowFault>| match row {
        Ok(Row { place, cells: Cells::Texts(texts) }) => format!("{}: {texts:?}", place.number),
        Ok(Row { place, cells: Cells::Fields(fields) }) => format!("{}: {fields:?}", place.number),
        Err(fault) => format!("line {} {fault}", fault.place.line),
    };
    open(bytes).unwrap().map(|row| show(row.unwrap())).collect()
}

#[test]
fn csv_is_read_by_rfc_4180_with_either_line_end_and_a_mark() {
    let text = "\u{feff}a,b c , \"d\"\"e\"\r\n".replace(", \"", ",\"")
        + "1,,\"x, \"\"y\"\"\r\nz\"\r\n\r\n   \n\"\",é,\"\"\"\"\n4,5,6";
    let reader = open(text.clone()).unwrap();
    let Format::Csv { columns } = reader.format() else { panic!() };
    assert_eq!(columns, &["a", "b c", "d\"e"]);
    let expected =
        [r#"1: ["1", "", "x, \"y\"\r\nz"]"#, r#"2: ["", "é", "\""]"#, r#"3: ["4", "5", "6"]"#];
    assert_eq!(rows(text), expected);
    assert_eq!(rows("a,b\n1,\"2\"\r"), [r#"1: ["1", "2"]"#]);
    assert_eq!(rows("a,b\n,\r\n,"), [r#"1: ["", ""]"#, r#"2: ["", ""]"#]);
    assert_eq!(rows("a,b\n"), Vec::<String>::new());
}

#[test]
fn a_broken_row_is_refused_and_the_next_is_read() {
    let mut file = b"a,b\n1,2\n3\n4,5,6\n7,x\"y\n8,\"9\n10,\"11, 12\"\n\"13\"x,14\n".to_vec();
    file.extend_from_slice(b"15,\xff\xfe\n16,17\n18,\"19\n20,21\n");
    let expected = [
        r#"1: ["1", "2"]"#,
        "line 3 row 2: the row has 1 cells, the header has 2",
        "line 4 row 3: the row has 3 cells, the header has 2",
        "line 5 row 4: a quote stands inside a cell that is not quoted; put the cell in quotes and \
         double the quotes in it",
        "line 6 row 5: text follows the closing quote of a cell",
        r#"6: ["10", "11, 12"]"#,
        "line 8 row 7: text follows the closing quote of a cell",
        "line 9 row 8: the row is not UTF-8",
        r#"9: ["16", "17"]"#,
        "line 11 row 10: a quoted cell has no closing quote",
        r#"11: ["20", "21"]"#,
    ];
    assert_eq!(rows(file), expected);
}

#[test]
fn json_lines_are_flattened_and_broken_ones_refused() {
    let file = "\n{\"a\":1,\"data\":{\"oil\":2.5,\"on\":true},\"list\":[\"x\",1],\"none\":null}\r\n\
                {\"a\":\n[1]\n{\"a\":[[1]]}\n{\"a.b\":1,\"a\":{\"b\":2}}\n\n\
                {\"b\":18446744073709551615}";
    let deep = format!("{file}\n{}1{}", "{\"a\":".repeat(17), "}".repeat(17));
    let found = rows(deep);
    let fields: Vec<_> = open(file).unwrap().flatten().flatten().collect();
    let Cells::Fields(first) = &fields[0].cells else { panic!() };
    assert_eq!(first["data.oil"], Value::Float(2.5));
    assert_eq!(first["data.on"], Value::Bool(true));
    assert_eq!(first["list"], Value::List(vec![Value::Text("x".into()), Value::Int(1)]));
    assert_eq!(first["none"], Value::Null);
    assert!(found[1].starts_with("line 3 row 2: the line is no JSON: EOF"), "{}", found[1]);
    assert_eq!(found[2], "line 4 row 3: the line is no JSON object");
    assert!(found[3].contains("row 4: a: a list may hold"));
    assert!(found[4].contains("row 5: a.b is given twice"));
    assert!(found[5].starts_with("6: {\"b\": Float("));
    assert!(found[6].contains("row 7: the object is nested deeper than 16"));
    assert!(rows(format!("{{\"a\":1}}\n{}", "{\"a\":".repeat(100_000)))[1].contains("no JSON"));
}

#[test]
fn gzip_is_known_by_its_bytes_and_its_members_are_joined() {
    let mut file = gzip(b"a,b\n1,2\n3,");
    file.extend_from_slice(&gzip(b"4\n5,6\n"));
    let expected = [r#"1: ["1", "2"]"#, r#"2: ["3", "4"]"#, r#"3: ["5", "6"]"#];
    assert_eq!(rows(file), expected);
    assert_eq!(rows(gzip(b"{\"a\":1}")).len(), 1);
    assert_eq!(refused(gzip(b"")), "the file is empty");
}

#[test]
fn rows_before_the_damage_of_a_cut_file_are_given_and_then_the_failure() {
    let whole: String = (0..5_000).map(|row| format!("{row},{}\n", row * 7919 % 1009)).collect();
    let file = gzip(format!("a,b\n{whole}").as_bytes());
    let found: Vec<_> = open(&file[..file.len() / 2]).unwrap().collect();
    let (last, good) = found.split_last().unwrap();
    assert!(matches!(last, Err(FileError::Inflate(_))));
    assert!(good.len() > 1_000);
    assert!(good.iter().all(|row| matches!(row, Ok(Ok(_)))));
}

#[test]
fn a_file_that_is_no_csv_is_refused_with_what_it_seems_to_be() {
    assert_eq!(refused(""), "the file is empty");
    assert_eq!(refused("\u{feff} \r\n\n"), "the file is empty");
    assert!(refused(b"\x7fELF\x02\x01\0\0rest\n".to_vec()).contains("not text"));
    assert!(refused(b"\x89PNG\r\n\x1a\n".to_vec()).contains("not text"));
    assert!(refused(vec![b'x'; ROW_SIZE_MAX + 10]).contains("not text"));
    assert!(refused(b"\xff\xfea\0,\0b\0".to_vec()).contains("UTF-16"));
    assert!(refused("[\n {\"a\":1}]").contains("one object per line"));
    assert!(refused("[section]\nkey = 1\n").contains("only one column"));
    assert!(refused("177194003103,A004\n1,2\n").contains("the header seems to be missing"));
    assert!(refused("a,,c\n").contains("column 2 has no name"));
    assert!(refused("a,b,a\n").contains("two columns are called \"a\""));
    assert!(refused("a;b;c\n1;2;3\n").contains("separated by commas"));
    assert!(refused("Dear reader\nthis is prose\n").contains("only one column"));
    assert!(refused("\"a,b\n1,2\n").contains("no closing quote"));
    assert!(refused("a,b\"c\n").contains("no csv"));
    assert!(matches!(open(gzip(&gzip(b"a\n"))).map(|_| ()), Err(FileError::NotText)));
    let wide: Vec<String> = (0..=COLUMNS_MAX).map(|number| format!("c{number}")).collect();
    assert!(refused(wide.join(",")).contains("more than 1024 columns"));
}

#[test]
fn a_row_over_the_bound_is_refused_without_being_held() {
    let long = "x".repeat(3 * ROW_SIZE_MAX);
    let found = rows(gzip(format!("a,b\n1,2\n{long},2\n\"{long}\",2\n3,4\n").as_bytes()));
    let too_large = "the row is larger than 1048576 bytes";
    assert_eq!(found[1], format!("line 3 row 2: {too_large}"));
    assert_eq!(found[2], format!("line 4 row 3: {too_large}"));
    assert_eq!(found[3], r#"4: ["3", "4"]"#);
    let json = rows(format!("{{\"a\":1}}\n{{\"a\":\"{long}\"}}\n{{\"a\":2}}"));
    assert_eq!((json.len(), json[1].as_str()), (3, &*format!("line 2 row 2: {too_large}")));
}

#[test]
fn a_lone_quote_takes_only_its_own_line_however_long_the_file_goes_on() {
    let good = "1,2\n".repeat(400_000);
    let mut found = open(format!("a,b\n1,\"2\n{good}")).unwrap();
    let first = found.next().unwrap().unwrap().unwrap_err();
    assert_eq!(first.to_string(), "row 1: a quoted cell has no closing quote");
    assert_eq!(found.filter(|row| matches!(row, Ok(Ok(_)))).count(), 400_000);
}

/// Gives one byte at a time and stops with a failure.
struct Drip(Cursor<Vec<u8>>);

impl Read for Drip {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        match self.0.read(&mut buffer[..length])? {
            0 => Err(std::io::Error::other("gone")),
            read => Ok(read),
        }
    }
}

#[test]
fn a_source_that_fails_ends_the_rows_with_its_error() {
    let drip = Drip(Cursor::new(b"a,b\n1,2\n3,4\n".to_vec()));
    let found: Vec<_> = Reader::open(drip).unwrap().collect();
    assert_eq!(found.len(), 3);
    assert!(matches!(found[2], Err(FileError::Read(_))));
}

#[test]
fn hostile_bytes_end_in_rows_or_errors() {
    let alphabet = b"a1,,\"\"\n\n\r{}[]:\x00\xff\xc3 .\x1f\x8b";
    let mapping = Mapping::parse(SHIPPED).unwrap();
    for seed in 1..3_000_u64 {
        let mut state = seed;
        let noise = (0..200).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
        });
        let noise: Vec<u8> = noise.collect();
        for prefix in [&b""[..], b"a,b\n", b"{\"a\":", b"\x1f\x8b\x08\0", GOM_HEADER.as_bytes()] {
            let file = [prefix, &noise].concat();
            for mapping in [&mapping, &Mapping::identity("well")] {
                if let Ok(import) = Import::open(Cursor::new(file.clone()), mapping) {
                    assert!(import.count() <= 250);
                }
            }
        }
    }
}

fn gom(rows: &str) -> Vec<Result<Mapped, RowFault>> {
    let file = Cursor::new(format!("{GOM_HEADER}{rows}"));
    let mapping = Mapping::parse(SHIPPED).unwrap();
    Import::open(file, &mapping).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_shipped_mapping_makes_a_well_and_a_daily_entry_of_a_monthly_row() {
    let found =
        gom("177194003103,A004,00016,WD   31,WD030,CNOOC PETROLEUM USA INC,2011-01,31,O,09,\
                     4151,1153,1973\n");
    let [Ok(mapped)] = found.as_slice() else { panic!("{found:?}") };
    let [well, entry] = mapped.records.as_slice() else { panic!() };
    let text = |text: &str| Value::Text(text.into());
    let expected = [
        ("apiNumber", "17-719-40031-03"),
        ("field", "WD030"),
        ("lease", "00016"),
        ("name", "WD 31 17-719-40031-03"),
        ("operator", "CNOOC PETROLEUM USA INC"),
        ("status", "ACTIVE"),
    ];
    let expected = expected.map(|(field, value)| (field.to_owned(), text(value)));
    assert_eq!(well.fields, expected.into());
    assert_eq!(well.block.create, Create::Once { unique: vec!["apiNumber".into()] });
    let expected = [
        ("data.gasVolume", Value::Float(1153.0 / 31.0)),
        ("data.oilVolume", Value::Float(4151.0 / 31.0)),
        ("data.waterVolume", Value::Float(1973.0 / 31.0)),
        ("entryType", text("PRODUCTION")),
        (
            "notes",
            text(
                "2011-01: 31 days on production, oil 4151 bbl, gas 1153 MCF, water 1973 bbl; \
                 completion A004, lease 00016, product O, status 09",
            ),
        ),
        ("recordedAt", Value::Moment("2011-01-01T00:00:00Z".parse().unwrap())),
    ];
    assert_eq!(entry.fields, expected.map(|(field, value)| (field.to_owned(), value)).into());
    assert_eq!(entry.references, [Reference { field: "wellId".into(), record: 0 }]);
    assert_eq!(entry.key_text(), "177194003103, A004, 00016, 2011-01, O");
}

#[test]
fn the_shipped_mapping_takes_idle_and_sparse_rows_and_refuses_bad_ones() {
    let found = gom("177194029700,,00016,WD   31,,\"X, A PARTNERSHIP\",2011-02,0,O,12,0,0,0\n\
                     1771940297,A,1,B,F,O,2011-13,x,O,99,0,0,0\n");
    let Ok(idle) = &found[0] else { panic!("{:?}", found[0]) };
    assert_eq!(idle.records[1].fields["data.oilVolume"], Value::Int(0));
    assert_eq!(idle.records[0].fields["operator"], Value::Text("X, A PARTNERSHIP".into()));
    assert!(!idle.records[0].fields.contains_key("field"));
    let Value::Text(notes) = &idle.records[1].fields["notes"] else { panic!() };
    assert!(notes.contains("completion -, lease"));
    let fault = found[1].as_ref().unwrap_err();
    assert_eq!(fault.place, RowPlace { number: 2, line: 3 });
    let fields: Vec<_> = fault.faults.iter().filter_map(|fault| fault.field.as_deref()).collect();
    let volumes = ["data.gasVolume", "data.oilVolume", "data.waterVolume"];
    assert_eq!(fields[..3], ["apiNumber", "name", "status"]);
    assert_eq!(fields[3..6], volumes);
    assert_eq!(fields[6..], ["recordedAt"]);
}

#[test]
fn the_mapping_that_the_guide_shows_is_a_mapping() {
    let guide = include_str!("../../../../examples/README.md");
    let (_, rest) = guide.split_once("```toml\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let mapping = Mapping::parse(shown).unwrap_or_else(|error| panic!("{error}"));
    let file =
        "api,completion,oil,days,month,area,block,state\n177194003103,A,62,31,2011-01,WD,3,08";
    let rows: Vec<_> = Import::open(file.as_bytes(), &mapping).unwrap().collect();
    let records = &rows[0].as_ref().unwrap().as_ref().unwrap().records;
    let notes = Value::Text("2011-01: 62 bbl in 31 of 31 days".into());
    assert_eq!(records[1].fields["notes"], notes);
    assert_eq!(records[1].fields["data.oilVolume"], Value::Float(2.0));
}

/// The whole file where it is at hand: the path stands in `FIELDMESH_GOM_CSV`.
#[test]
fn the_shipped_mapping_takes_every_row_of_the_real_file() {
    let Some(path) = std::env::var_os("FIELDMESH_GOM_CSV") else {
        println!("skipped: FIELDMESH_GOM_CSV names no file");
        return;
    };
    let mapping = Mapping::parse(SHIPPED).unwrap();
    let mut import = Import::open(std::fs::File::open(path).unwrap(), &mapping).unwrap();
    let mut wells = std::collections::BTreeSet::new();
    let mut entries = std::collections::BTreeMap::new();
    let (mut same, mut different) = (0, 0);
    for mapped in &mut import {
        let mapped = mapped.unwrap().unwrap();
        let [well, entry] = <[MappedRecord; 2]>::try_from(mapped.records).unwrap();
        wells.insert(format!("{:?}", well.fields["apiNumber"]));
        match entries.get(&entry.key_extension) {
            None => {
                entries.insert(entry.key_extension, entry.fields);
            }
            Some(first) if *first == entry.fields => same += 1,
            Some(_) => different += 1,
        }
    }
    assert_eq!((import.rows(), wells.len()), (152_064, 12_036));
    assert_eq!((entries.len(), same, different), (150_513, 320, 1_231));
}
