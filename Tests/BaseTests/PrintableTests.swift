import Testing

@testable import Base

/// Text from outside never reaches a terminal as a command.
@Suite struct PrintableTests {
    @Test(arguments: [
        ("knoten-7.åbo 東京 🙂", "knoten-7.åbo 東京 🙂"), ("\u{1B}[2Jhost\u{7}", "?[2Jhost?"), ("a\u{9B}31mb", "a?31mb"),
        ("abc\u{202E}fed", "abc?fed"), ("a\0b\u{7F}", "a?b?"), ("", ""),
    ]) func controlsBecomeQuestionMarks(text: String, expected: String) {
        #expect(text.printable == expected)
    }

    @Test func errorsAreOnePrintableLine() {
        let error = InputError("no\u{1B}[1m way\nat all", at: "host\u{8}", remedy: "wait")
        #expect("\(error)" == "host?: no?[1m way at all; wait")
    }
}
