use weir_guard::traces::{Detector, Label, table};

#[test]
fn every_runaway_is_stopped_and_nothing_else_is() {
    let table = table(&[1]);
    println!("{table}");
    for row in &table.rows {
        match row.label {
            Label::Benign => assert_eq!((row.rule, row.refused), (None, 0), "{}", row.name),
            Label::Malign => {
                assert!(row.rule.is_some(), "{} is not stopped", row.name);
                assert!(
                    row.before_nano <= row.most_nano,
                    "{} costs {}",
                    row.name,
                    row.before_nano
                );
            }
        }
    }
    assert_eq!(table.precision(Detector::All), Some(1.0));
    assert_eq!(table.recall(Detector::All), Some(1.0));
}
