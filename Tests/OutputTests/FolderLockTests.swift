// The lock of an output folder. In: holders that come and go, a file that is removed. Out: one holder at a time.
import Base
import Foundation
import TestSupport
import Testing

@testable import Output

@Suite("The lock of an output folder") struct FolderLockTests {
    @Test("a second holder is refused with the folder's name, and let in when the first is gone")
    func oneHolder() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/lock"
        var first: FolderLock? = try FolderLock(path)
        let error = #expect(throws: InputError.self) { try FolderLock(path) }
        #expect(error?.description.contains("another coordinator is running in this folder") == true)
        withExtendedLifetime(first) {}
        first = nil
        _ = try FolderLock(path)
        #expect(FileManager.default.fileExists(atPath: path), "the file remains")
    }

    /// Whoever has opened a file before it was removed, and locks it after, has the lock of a file that is no longer there; the next one
    /// would make another file and lock that.
    @Test("a file that is removed between opening and locking lets no second holder in")
    func removedFile() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/lock"
        var removals = 0
        let first = try FolderLock(path) {
            guard removals < 3 else { return }
            removals += 1
            unlink(path)
            // Another may have made the next file already.
            if removals > 1 { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        }
        #expect(removals == 3)
        #expect(throws: InputError.self) { try FolderLock(path) }
        withExtendedLifetime(first) {}
    }
}
