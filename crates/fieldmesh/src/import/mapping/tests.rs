//! Goal: the grammar of a mapping, and that its mistakes are found before the first row, with
//! their place. Method: small mappings against one or two rows.

use fieldmesh_model::Value;

use super::*;
use crate::import::{Cells, Create, Format, Mapped, Row, RowFault, RowPlace};

fn csv(columns: &[&str]) -> Format {
    Format::Csv { columns: columns.iter().map(|&column| column.to_owned()).collect() }
}

fn row(cells: &[&str]) -> Row {
    let cells = cells.iter().map(|&cell| cell.to_owned()).collect();
    Row { place: RowPlace { number: 1, line: 2 }, cells: Cells::Texts(cells) }
}

fn apply(mapping: &str, columns: &[&str], cells: &[&str]) -> Result<Mapped, RowFault> {
    let mapping = Mapping::parse(mapping).unwrap_or_else(|error| panic!("{error}"));
    mapping.bind(&csv(columns)).unwrap_or_else(|error| panic!("{error}")).apply(row(cells))
}

fn fields(body: &str, columns: &[&str], cells: &[&str]) -> Vec<(String, Value)> {
    let mapping = format!("[[record]]\ncollection = 'c'\n[record.fields]\n{body}");
    let mapped = apply(&mapping, columns, cells).unwrap();
    mapped.records[0].fields.clone().into_iter().collect()
}

fn parse_fails(mapping: &str) -> String {
    Mapping::parse(mapping).unwrap_err().to_string()
}

fn field_fails(body: &str) -> String {
    parse_fails(&format!("[[record]]\ncollection = 'c'\n[record.fields]\n{body}"))
}

fn pair(field: &str, value: Value) -> (String, Value) {
    (field.into(), value)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

const TWO: &str = r#"
    [maps.state]
    "1" = "ACTIVE"
    [[record]]
    name = "well"
    collection = "well"
    create = "once"
    unique = ["apiNumber"]
    skip_if = "api == 'none'"
    [record.fields]
    apiNumber = "api"
    status = { column = "state", map = "state" }
    [[record]]
    collection = "field_entry"
    key = ["api", "month"]
    [record.fields]
    wellId = "ref('well')"
    data.oilVolume = "oil / 2"
"#;

#[test]
fn one_row_becomes_records_of_several_collections_that_refer_to_each_other() {
    let columns = ["month", "api", "oil", "state"];
    let mapped = apply(TWO, &columns, &["2011-01", "17", "3", "1"]).unwrap();
    let [well, entry] = mapped.records.as_slice() else { panic!("{mapped:?}") };
    assert_eq!((well.block.name.as_str(), well.block.collection.as_str()), ("well", "well"));
    assert_eq!(well.block.create, Create::Once { unique: vec!["apiNumber".into()] });
    assert_eq!(well.fields["status"], text("ACTIVE"));
    assert!(well.key_extension.is_empty());
    assert_eq!(entry.block.name, "field_entry");
    assert_eq!(entry.references.len(), 1);
    assert_eq!((entry.references[0].field.as_str(), entry.references[0].record), ("wellId", 0));
    assert_eq!(entry.fields.clone(), [pair("data.oilVolume", Value::Float(1.5))].into());
    assert_eq!(entry.key_text(), "17, 2011-01");
    assert_eq!(Mapping::parse(TWO).unwrap().collections(), ["field_entry", "well"]);
}

#[test]
fn a_row_is_refused_with_everything_that_is_wrong_with_it() {
    let fault = apply(TWO, &["month", "api", "oil", "state"], &["", "17", "x", "9"]).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "row 1: status: \"9\" is not in the map \"state\"; data.oilVolume: \"x\" is not a number"
    );
}

#[test]
fn a_reference_to_a_skipped_record_is_a_fault() {
    let columns = ["month", "api", "oil", "state"];
    let fault = apply(TWO, &columns, &["2011-01", "none", "3", "1"]).unwrap_err();
    assert_eq!(fault.faults[0].field.as_deref(), Some("wellId"));
}

#[test]
fn a_row_that_every_block_skips_has_no_records() {
    let mapping = "[[record]]\ncollection = 'c'\nskip_if = \"oil == 0\"\nfields.a = 'oil'";
    assert!(apply(mapping, &["oil"], &["0.0"]).unwrap().records.is_empty());
    assert_eq!(apply(mapping, &["oil"], &["1"]).unwrap().records.len(), 1);
}

#[test]
fn keys_are_equal_only_where_all_their_parts_are() {
    let mapping = "[[record]]\ncollection = 'c'\nkey = ['a', 'b']\nfields.a = 'a'";
    let key = |a, b| apply(mapping, &["a", "b"], &[a, b]).unwrap().records.remove(0).key_extension;
    assert_eq!(key("x", "y"), b"\0\0\0\x01x\0\0\0\x01y");
    assert_eq!(key(" x ", "y"), key("x", "y"));
    assert_ne!(key("xy", ""), key("x", "y"));
    assert_ne!(key("", "x"), key("x", ""));
}

#[test]
fn a_field_is_an_expression_a_constant_a_list_or_a_table() {
    let body = r#"
        expression = "a * 2"
        number = 5
        truth = true
        time = 2011-01-01T00:00:00Z
        list = ["a", "none", "'b'", 7]
        constant = { constant = "PRODUCTION" }
        column = { column = "Oil (bbl)" }
        template = { template = "{a} and {{b}} isn't \"c\"" }
        factor = { column = "a", factor = 2.5 }
        unit = { column = "a", unit = ["MMCF", "MCF"] }
        digits = { column = "a", digits = "1-1" }
        coded = { column = "a", map = { "12" = "twelve", "*" = "other" } }
        default = { column = "none", default = 0 }
        absent = "none"
        deep.er.field = "a"
        "quoted.name" = "a"
    "#;
    let found = fields(body, &["a", "none", "Oil (bbl)"], &["12", " ", "9"]);
    let expected = [
        pair("coded", text("twelve")),
        pair("column", text("9")),
        pair("constant", text("PRODUCTION")),
        pair("deep.er.field", text("12")),
        pair("default", Value::Int(0)),
        pair("digits", text("1-2")),
        pair("expression", Value::Int(24)),
        pair("factor", Value::Float(30.0)),
        pair("list", Value::List(vec![text("12"), text("b"), Value::Int(7)])),
        pair("number", Value::Int(5)),
        pair("quoted.name", text("12")),
        pair("template", text("12 and {b} isn't \"c\"")),
        pair("time", Value::Moment("2011-01-01T00:00:00Z".parse().unwrap())),
        pair("truth", Value::Bool(true)),
        pair("unit", Value::Float(12_000.0)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_column_that_the_file_lacks_is_named_with_its_field() {
    let mapping = Mapping::parse(TWO).unwrap();
    let error = mapping.bind(&csv(&["api", "state", "month", "oilBbl"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mapping: record 2, field data.oilVolume: column \"oil\" is not in the file; the file has \
         api, state, month, oilBbl"
    );
    let error = mapping.bind(&csv(&["api", "state", "oil"])).unwrap_err();
    assert!(error.to_string().starts_with("mapping: record 2, key: column \"month\""));
}

#[test]
fn a_faulty_mapping_is_refused_with_its_place() {
    assert!(parse_fails("x = = 1").contains("(line 1)"));
    assert!(parse_fails("\n\n[[record]]\ncolection = 'x'").contains("unknown field `colection`"));
    assert_eq!(parse_fails(""), "mapping: it has 0 [[record]] blocks, 1 to 16 are allowed");
    assert_eq!(
        field_fails("a.b = '1 +'"),
        "mapping: record 1, field a.b: expected a value at character 4, found the end"
    );
    assert!(field_fails("a = \"ref('well')\"").contains("no record before this one"));
    assert!(field_fails("a = { column = 'x', colour = 1 }").contains("\"colour\" means nothing"));
    assert!(field_fails("a = { column = 'x', constant = 1 }").contains("cannot stand together"));
    assert!(field_fails("a = { column = 'x', factor = 'y' }").contains("a number is needed"));
    assert!(field_fails("a = { column = 'x', map = 'none' }").contains("there is no map"));
    assert!(field_fails("a = { column = 1 }").contains("a text is needed"));
    assert!(field_fails("a = [['x']]").contains("is needed here"));
    assert!(field_fails("a = nan").contains("is needed here"));
    assert!(field_fails("").contains("no fields"));
    assert!(field_fails("a.b = 'x'\n'a.b' = 'y'").contains("field a.b: the field is set twice"));
    let block = "[[record]]\ncollection = 'c'\nfields.a = 'a'\n";
    assert!(parse_fails(&block.repeat(2)).contains("two records are called \"c\""));
    assert!(parse_fails(&format!("{block}create = 'once'")).contains("unique"));
    assert!(parse_fails(&format!("{block}unique = ['a']")).contains("once"));
    assert!(
        parse_fails(&format!("{block}create = 'once'\nunique = ['b']")).contains("unique names")
    );
    let keys = vec!["'a'"; KEY_PARTS_MAX + 1].join(",");
    assert!(parse_fails(&format!("{block}key = [{keys}]")).contains("limit is 16"));
    assert!(parse_fails(&" ".repeat(MAPPING_SIZE_MAX + 1)).contains("limit is 262144"));
}

#[test]
fn without_a_mapping_columns_are_the_fields() {
    let mapping = Mapping::identity("well");
    let bound = mapping.bind(&csv(&["name", "data.oilVolume", "empty"])).unwrap();
    let mapped = bound.apply(row(&["A", "3", ""])).unwrap();
    let expected = [pair("data.oilVolume", text("3")), pair("name", text("A"))];
    assert_eq!(mapped.records[0].fields, expected.into());
    assert_eq!(mapped.records[0].block.collection, "well");
    let error = mapping.bind(&csv(&["name", "not a field"])).unwrap_err();
    assert!(error.to_string().contains("column \"not a field\": the column has no plain name"));
}

#[test]
fn a_field_that_a_json_line_lacks_is_blank() {
    let bound = Mapping::parse(TWO).unwrap().bind(&Format::JsonLines).unwrap();
    let given = [pair("api", Value::Int(17)), pair("state", text("1"))];
    let place = RowPlace { number: 1, line: 1 };
    let mapped = bound.apply(Row { place, cells: Cells::Fields(given.into()) }).unwrap();
    assert!(mapped.records[1].fields.is_empty());
    assert_eq!(mapped.records[1].key_text(), "17, ");
    assert!(bound.apply(row(&["x"])).is_err());
}
