//! A state that is read can be written and read again, unchanged.
#![no_main]

use headwater_host::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(state) = State::parse(data, "the state") else {
        return;
    };
    let written = state.to_json().expect("a state that was read");
    let again = State::parse(&written, "the state").expect("a state that was written");
    assert_eq!(again, state);
});
