//! Manual pages.

use std::fmt::Write;

use clap::Command;
use clap::builder::StyledStr;
use clap_mangen::Man;

use super::Program;

/// Returns the manual page of a program, with its commands.
pub(super) fn page(program: &Program, mut command: Command) -> Vec<u8> {
    command.build();
    let man = Man::new(command.clone());
    let title = program.name.to_uppercase();
    let source = concat!("bullhorn ", env!("CARGO_PKG_VERSION"));
    let mut page = format!(".TH \"{title}\" 1 \"\" \"{source}\" \"User Commands\"\n");
    page += &rendered(|out| man.render_name_section(out));
    page += ".SH SYNOPSIS\n";
    page += &synopsis(&command);
    for sub in commands_of(&command) {
        page += ".br\n";
        page += &synopsis(sub);
    }
    page += &rendered(|out| man.render_description_section(out));
    page += &options(&command);
    for sub in commands_of(&command) {
        let title = format!("COMMAND {}", sub.get_name());
        let _ = writeln!(page, ".SH \"{}\"", escaped(&title.to_uppercase()));
        if let Some(about) = sub.get_long_about().or(sub.get_about()) {
            let _ = writeln!(
                page,
                "{}.",
                escaped(about.to_string().trim_end_matches('.'))
            );
        }
        page += &options(sub)
            .replace("\n.SH ", "\n.SS ")
            .replacen(".SH ", ".SS ", 1);
        page += &after_help(sub, ".SS");
    }
    page += &after_help(&command, ".SH");
    let _ = writeln!(page, ".SH \"SEE ALSO\"\n{}", program.see_also);
    without_empty_lines(&page).into_bytes()
}

fn commands_of(command: &Command) -> impl Iterator<Item = &Command> {
    let is_shown = |sub: &&Command| !sub.is_hide_set() && sub.get_name() != "help";
    command.get_subcommands().filter(is_shown)
}

/// Returns the forms of the usage, without the list of all options, which the page has below.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut line = format!("\\fB{}\\fR [\\fIOPTIONS\\fR]", escaped(name));
    for option in command.get_opts().filter(|option| option.is_required_set()) {
        let value = option.get_value_names().unwrap_or_default().concat();
        let long = option.get_long().unwrap_or_default();
        let _ = write!(line, " \\fB\\-\\-{}\\fR \\fI{value}\\fR", escaped(long));
    }
    for positional in command.get_positionals() {
        let value = positional.get_value_names().unwrap_or_default().concat();
        let _ = write!(line, " [\\fI{}\\fR]", escaped(&value));
    }
    line + "\n"
}

fn options(command: &Command) -> String {
    let man = Man::new(command.clone());
    rendered(|out| man.render_options_section(out))
}

/// Returns what follows the options: each line that ends with a colon, and is not indented, becomes a
/// heading, and indented lines stay as they are.
fn after_help(command: &Command, heading: &str) -> String {
    let text = command.get_after_long_help().or(command.get_after_help());
    let text = text.map(StyledStr::to_string).unwrap_or_default();
    let mut page = String::new();
    let (mut is_example, mut has_space) = (false, false);
    for line in text.lines() {
        if line.is_empty() {
            has_space = true;
            continue;
        }
        let must_be_example = line.starts_with("  ");
        if must_be_example != is_example {
            page += if must_be_example { ".nf\n" } else { ".fi\n" };
            is_example = must_be_example;
        }
        match line.strip_suffix(':') {
            Some(title) if !is_example => {
                let _ = writeln!(page, "{heading} \"{}\"", escaped(&title.to_uppercase()));
            }
            _ => {
                page += if has_space { ".sp\n" } else { "" };
                let _ = writeln!(page, "{}", escaped(line));
            }
        }
        has_space = false;
    }
    if is_example {
        page += ".fi\n";
    }
    match page.starts_with('.') || page.is_empty() {
        true => page,
        false => format!("{heading} NOTES\n{page}"),
    }
}

fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&mut bytes).expect("a vector takes all bytes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the text as roff reads it.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// Returns the page with a request for space in place of each empty line, and without requests for
/// space or a new line next to each other, or before a heading.
fn without_empty_lines(page: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in page.lines() {
        let line = if line.trim().is_empty() { ".sp" } else { line };
        let last = lines.last().copied().unwrap_or_default();
        let is_heading = line.starts_with(".SH") || line.starts_with(".SS");
        if matches!(line, ".sp" | ".br") && matches!(last, ".sp" | ".PP") {
            continue;
        }
        if matches!(last, ".sp" | ".PP" | ".br") && (is_heading || line == ".sp") {
            lines.pop();
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}
