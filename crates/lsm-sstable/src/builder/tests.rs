//! What a builder takes into a block, how it writes, and what it says of itself on the way.

use std::path::Path;

use lsm_base::Fs;
use lsm_base::fs::{FaultFs, MemFs, OpKind};

use super::*;

const PATH: &str = "000001.sst";

fn builder(fs: &dyn Fs, block_size: u32) -> TableBuilder {
    let options =
        TableOptions { block_size, compression: Compression::None, ..TableOptions::default() };
    let file = fs.create(Path::new(PATH)).unwrap();
    TableBuilder::new(file, 7, (KeyspaceId::DEFAULT, "default"), options)
}

fn add(builder: &mut TableBuilder, index: u32, value: &[u8]) -> Result<()> {
    let user_key = index.to_be_bytes();
    builder.add(InternalKeyRef::new(&user_key, Seq::new(9), Kind::Put), value)
}

#[test]
fn a_block_takes_what_fits_its_size_and_not_a_byte_more() {
    let lens = |block_size: u32| {
        let mut builder = builder(&MemFs::new(), block_size);
        let mut lens = Vec::new();
        for index in 0..3 {
            add(&mut builder, index, &[b'v'; 100]).unwrap();
            lens.push(builder.block.raw_len() as u32);
        }
        lens
    };
    let [one, two, three] = lens(10_000)[..] else { unreachable!() };
    assert_eq!(lens(three), [one, two, three]);
    assert_eq!(lens(three - 1), [one, two, one]);
    assert_eq!(lens(two - 1), [one, one, one]);
    assert_eq!(lens(0), [one, one, one], "an entry larger than a block has one of its own");
}

#[test]
fn the_estimate_lacks_only_what_a_table_ends_with() {
    for count in [1, 10, 3000] {
        let mut builder = builder(&MemFs::new(), 4096);
        for index in 0..count {
            add(&mut builder, index, &[b'v'; 50]).unwrap();
        }
        assert_eq!(builder.entries(), u64::from(count));
        let estimate = builder.estimated_len();
        let len = builder.finish().unwrap().len;
        // Properties, directory and footer, and the paddings.
        assert!((200..700).contains(&(len - estimate)), "{estimate} of {len}");
    }
}

#[test]
fn a_table_is_written_a_buffer_at_a_time() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let mut builder = builder(&fs, 4096);
    for index in 0..350 {
        add(&mut builder, index, &[b'v'; 10_000]).unwrap();
        assert!(builder.output.buffer.len() < BUFFER_LEN);
    }
    builder.finish().unwrap();
    let lens: Vec<u64> =
        fs.trace().iter().filter(|op| op.kind == OpKind::Write).map(|op| op.len).collect();
    let [whole @ .., last] = &lens[..] else { panic!("nothing was written") };
    assert!(whole.len() == 3 && *last < 1 << 20, "{lens:?}");
    assert!(whole.iter().all(|len| (1 << 20..(1 << 20) + 20_000).contains(len)), "{lens:?}");
}

#[test]
fn keys_and_values_have_limits() {
    let fs = MemFs::new();
    let mut builder = builder(&fs, 4096);
    let long = vec![b'k'; MAX_KEY_LEN + 1];
    let add = |builder: &mut TableBuilder, user_key: &[u8], value: &[u8]| {
        builder.add(InternalKeyRef::new(user_key, Seq::new(9), Kind::Put), value)
    };
    for refused in [&long[..], b""] {
        let error = add(&mut builder, refused, b"").unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    }
    let value = vec![0; MAX_VALUE_LEN + 1];
    assert!(matches!(add(&mut builder, b"k", &value), Err(Error::InvalidArgument(_))));
    let key = InternalKeyRef::new(b"k", Seq::new(9), Kind::Put);
    check_limits(key, &value[1..]).unwrap();
    assert_eq!(builder.entries(), 0);
    add(&mut builder, b"k", b"v").unwrap();
    add(&mut builder, &long[..MAX_KEY_LEN], b"v").unwrap();
    assert_eq!(builder.finish().unwrap().entries, 2);
}

#[test]
fn a_table_ends_short_of_what_its_fences_can_tell() {
    let mut builder = builder(&MemFs::new(), 4096);
    let len =
        builder.block.raw_len_with(InternalKeyRef::new(&[0; 4], Seq::new(9), Kind::Put), b"v");
    builder.output.written = fences::MAX_DATA_LEN - (1 << 20) - len as u64 + 1;
    let error = add(&mut builder, 0, b"v").unwrap_err();
    assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    builder.output.written -= 1;
    add(&mut builder, 0, b"v").unwrap();
    assert_eq!(builder.entries(), 1);
}

#[test]
fn a_full_buffer_goes_to_the_file_and_gives_back_what_it_grew_by() {
    let fs = MemFs::new();
    let mut builder = builder(&fs, 4096);
    let output = &mut builder.output;
    output.buffer = vec![0; BUFFER_LEN - 1];
    output.write_if_full().unwrap();
    assert_eq!((output.written, output.buffer.len()), (0, BUFFER_LEN - 1));
    output.buffer.reserve_exact(7 * BUFFER_LEN);
    output.buffer.push(0);
    output.write_if_full().unwrap();
    assert_eq!((output.written, output.buffer.len()), (BUFFER_LEN as u64, 0));
    assert!((2 * BUFFER_LEN..3 * BUFFER_LEN).contains(&output.buffer.capacity()));
}
