//! The documentation says what the code does.

use expect_test::expect_file;
use larder_expressions::functions;

const DOCUMENT: &str = include_str!("../../../../docs/expressions.md");
const MARK: &str = "<!-- The table below is written from the code: UPDATE_EXPECT=1 and this crate's tests. -->\n";

#[test]
fn the_table_of_functions_is_that_of_the_code() {
    let (text, _) = DOCUMENT.split_once(MARK).unwrap();
    let rows = functions().map(|function| {
        let others = function.names[1..].iter().map(|name| format!(" `{name}`")).collect::<String>();
        let others = if others.is_empty() { others } else { format!(" (or{others})") };
        format!("| `{}`{others} | {} |\n", function.usage, function.about.replace('|', "\\|"))
    });
    let table = format!("\n| call | gives |\n|---|---|\n{}", rows.collect::<String>());
    expect_file!["../../../../docs/expressions.md"].assert_eq(&format!("{text}{MARK}{table}"));
}
