use super::*;

#[test]
fn examples_have_the_name_that_was_called() {
    let text = "Examples:\n  server --once\nA chat server serves `server --help`, or x | server";
    let renamed = SERVER.in_text(text, "bullhorn-server");
    assert_eq!(
        renamed,
        "Examples:\n  bullhorn-server --once\nA chat server serves `bullhorn-server --help`, or \
         x | bullhorn-server"
    );
}

#[test]
fn the_version_has_the_commit_or_says_that_it_has_none() {
    let (version, build) = crate::VERSION.split_once(' ').unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(
        build.len() > 2 && build.starts_with('(') && build.ends_with(')'),
        "{build}"
    );
}

#[test]
fn headings_examples_and_odd_characters_reach_the_page() {
    let command = Command::new("x").about("Does it").after_help(
        "Codes:\n  0  all is well\n\nExamples:\n  server -a 'b\\c'\n\nA last sentence.",
    );
    let page = SERVER.generated(Kind::Man, command);
    let page = String::from_utf8(page).unwrap();
    let end = page.split_once(".SH \"CODES\"\n").unwrap().1;
    assert_eq!(
        end,
        ".nf\n  0  all is well\n.fi\n.SH \"EXAMPLES\"\n.nf\n  bullhorn\\-server \\-a 'b\\ec'\n\
         .fi\n.sp\nA last sentence.\n.SH \"SEE ALSO\"\nbullhorn-client(1), bullhorn-loadgen(1)\n"
    );
}
