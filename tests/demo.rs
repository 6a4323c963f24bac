use crate::harness::{keepsafe, succeed};

#[test]
fn the_demo_tells_its_story_and_every_result_is_right() {
    let output = succeed(&mut keepsafe(&["demo"]));
    let transcript = String::from_utf8(output.stdout).unwrap();
    for step in
        ["BACKUP DATABASE rides INTO", "INTO LATEST IN", "DROP DATABASE", "RESTORE DATABASE rides", "AS OF SYSTEM TIME"]
    {
        assert!(transcript.contains(step), "{step} is missing:\n{transcript}");
    }
    assert!(transcript.trim_end().ends_with("Everything came back as it was. The store is removed."));
}
