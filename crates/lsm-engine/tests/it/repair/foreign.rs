//! Files of another store, in the place of this one's or beside them.

use lsm_base::FileName;

use super::{assert_told, repair, repaired, specimens, truth};
use crate::harness::specimen::Specimen;
use crate::harness::{names, read_file, write_file};

/// What is put beside the files of a store, or in the place of its log, is not taken for its own.
#[test]
fn the_log_of_another_store_is_not_replayed() {
    let other = Specimen { owner: 'b', is_closed: false }.make();
    let theirs = names(&other, |name| matches!(name, FileName::Log(_)));
    for specimen in specimens() {
        for number in [None, Some(1), Some(900)] {
            let image = specimen.make();
            for log in &theirs {
                // In the place of the same segment of this store, if it has that, or elsewhere.
                let name = number.map_or(log.clone(), |number| FileName::Log(number).to_string());
                write_file(&image, &name, &read_file(&other, log));
            }
            let report = repair(&image).unwrap();
            let (truth, found) = (truth(specimen), repaired(&image));
            for (key, value) in &found {
                assert_eq!(Some(value), truth.get(key), "{specimen:?}, {number:?}: {key:?}");
            }
            assert_told(&truth, &found, &report);
            if specimen.is_closed {
                assert_eq!(found, truth, "{number:?}: {report:#?}");
            }
        }
    }
}

#[test]
fn the_manifest_of_another_store_is_not_believed() {
    for specimen in specimens() {
        let image = specimen.make();
        let other = Specimen { owner: 'b', ..specimen }.make();
        for name in names(&image, |name| matches!(name, FileName::Current | FileName::Manifest(_)))
        {
            write_file(&image, &name, &read_file(&other, &name));
        }
        let report = repair(&image).unwrap();
        assert!(!report.is_lossless());
        assert_eq!(repaired(&image), truth(specimen), "{report:#?}");
    }
}
