//! The cursor passes no text that serde_json refuses, and a canonical text has the same value.
#![no_main]

use headwater_json::{JsonCursor, canonical::canonical, for_each_field};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    if let Some(mut cursor) = JsonCursor::over_utf8(data)
        && cursor.checked_value(0).is_some()
        && cursor.is_over()
    {
        serde_json::from_slice::<IgnoredAny>(data).expect("the cursor passed it");
    }
    let _ = JsonCursor::new(data).skip_value();
    let mut fields = 0;
    let walked = for_each_field(data, |_, _| fields += 1);
    let once = canonical(data);
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        assert_eq!(walked.is_ok(), value.is_object());
        let again: Value = serde_json::from_slice(&once).expect("canonical text is JSON");
        assert_eq!(again, value);
        assert_eq!(canonical(&once), once);
    }
});
