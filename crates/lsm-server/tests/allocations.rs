//! What is read from a JSON document takes memory in proportion to it, whatever it holds.
//!
//! This is a program of its own because it counts what its allocator is asked for.

#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use lsm_server::wire::WireError;
use lsm_server::wire::json::{Node, read_list};

/// Counts the bytes that each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches cells of the
// thread that need no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: what the implementation says above.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: what the implementation says above.
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and `ptr` came from `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    // SAFETY: what the implementation says above.
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`, and `ptr` came from `System`.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that this thread held beyond those before, while it did some work.
fn peak_of(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    PEAK.set(before);
    work();
    (PEAK.get() - before) as usize
}

#[test]
fn a_hostile_document_does_not_become_a_large_tree() {
    // Each object of seven bytes is a vector with room for four fields.
    let objects = format!("[{}0]", r#"{"":0},"#.repeat(500_000));
    let fields = format!(r#"{{"x":{objects}}}"#);
    let list = format!(r#"{{"ops":{objects}}}"#);
    let escaped = format!(r#"{{"key":"{}"}}"#, "\\u0001".repeat(500_000));
    for document in [&objects, &fields, &list, &escaped] {
        let peak = peak_of(|| drop(Node::parse(document.as_bytes())));
        assert!(peak < 4 * document.len() + (256 << 10), "{peak} of {}", document.len());
        let take = |_, _: Node<'_>| Ok::<(), WireError>(());
        let peak = peak_of(|| drop(read_list(document.as_bytes(), "ops", take)));
        assert!(peak < 4 * document.len() + (256 << 10), "{peak} of {}", document.len());
    }
}
