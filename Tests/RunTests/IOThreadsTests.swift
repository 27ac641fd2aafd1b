import Run
import Testing

@Suite struct IOThreadsTests {
    @Test(
        arguments: [
            (nil, 16, true, true, 4), (nil, 2, true, true, 2), (nil, 1, true, true, 1), (nil, 16, true, false, 1),
            (nil, 16, false, true, 1), (8, 2, true, true, 8), (2, 16, false, false, 2),
        ] as [(Int?, Int, Bool, Bool, Int)]) func fitsTheLink(asked: Int?, cores: Int, isOpen: Bool, isEncrypted: Bool, threads: Int)
    {
        #expect(IOThreads.fitting(asked: asked, cores: cores, isOpen: isOpen, isEncrypted: isEncrypted) == threads)
    }
}
