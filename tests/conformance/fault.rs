//! What can be wrong with a pipe.

/// What is wrong with a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// One byte far on is not the one that was written, if no writer had to wait.
    CorruptsAByte,
    /// A byte is wrong once an end has both read and written much.
    CorruptsWhereBothFlow,
    /// A byte is wrong once an end has turned from reading to writing often.
    CorruptsAfterManyTurns,
    /// What does not fit into a buffer of one byte is thrown away.
    ForgetsWhatDoesNotFit,
    /// A reader's buffer is filled from its beginning, whatever it holds.
    FillsFromTheBeginning,
    /// A read into no room is taken for end of file.
    EndsOnAnEmptyRead,
    /// A write of no bytes is taken for end of file.
    EndsOnAnEmptyWrite,
    /// Eight slices are written last to first.
    WritesSlicesBackwards,
    /// A flush waits for a write that has yet to come.
    FlushesOnlyWhatIsThere,
    /// A write of one byte wakes no reader.
    SleepsThroughAByte,
    /// A shutdown does not wake.
    SleepsThroughShutdown,
    /// A drop of the writing end does not wake a reader.
    SleepsThroughAWritersDrop,
    /// A drop of the reading end does not wake a writer.
    SleepsThroughAReadersDrop,
    /// It takes every write, however many bytes are unread.
    HasNoEnd,
    /// The first time that a write is pending no waker is kept.
    KeepsNoWriterAtFirst,
    /// An end whose read is pending cannot write.
    WritesNothingWhileReading,
    /// An end whose write is pending cannot read.
    ReadsNothingWhileWriting,
    /// The first waker of a reader is kept until it was woken.
    KeepsTheFirstReader,
    /// The first waker of a writer is kept until it was woken.
    KeepsTheFirstWriter,
    /// An end has one place for a waker, be it for reading or for writing.
    HasOnePlaceForAWaker,
    /// What is read is meant for the read that was pending, and what the next has no room for is lost.
    ReadsForWhoWasPending,
    /// What is written are the bytes of the write that was pending.
    WritesForWhoWasPending,
    /// A shutdown throws away what was not flushed, if that is little.
    ForgetsWhatWasNotFlushed,
    /// A shutdown throws away what was not flushed, if that is much.
    ForgetsMuchThatWasNotFlushed,
    /// A shutdown throws away what this end has not read, if that is much.
    ForgetsUnreadOnShutdown,
    /// A shutdown throws away what this end has not read, if the peer has shut down before.
    ForgetsUnreadWhenBothAreShut,
    /// A shutdown forgets the waker of its own end's pending read.
    ForgetsItsReaderOnShutdown,
    /// An end that has shut down reads end of file in the midst of a long answer.
    CutsLongAnswers,
    /// End of file is returned once, and later reads never return.
    TellsTheEndOnce,
    /// A shutdown after reading end of file is not sent to the peer.
    ShutsInSilenceAfterTheEnd,
    /// What is written after a shutdown is thrown away, and said to be written.
    SwallowsAfterShutdown,
    /// A second shutdown is refused.
    ShutsDownOnce,
    /// A dropped end takes along what it wrote, if that is much and unread.
    ForgetsMuchWhenDropped,
    /// The first read after a drop is end of file, and later reads never return.
    TellsOfADropOnce,
    /// What is written to a dropped end is thrown away, and said to be written.
    SwallowsAfterDrop,
    /// After a drop without a shutdown, a peer that has read everything gets an error.
    ResetsOnDrop,
    /// After a shutdown and a drop, a peer that has not read everything gets an error.
    ResetsAfterShutdown,
    /// After a drop the error comes before the bytes that had arrived.
    ErrsBeforeBytes,
    /// What is past 64 KiB of a write is thrown away, and said to be written.
    LosesTheTailOfAWrite,
    /// A read into more than 64 KiB is end of file.
    EndsOnALargeBuffer,
    /// What is past the sixteenth slice is thrown away, and said to be written.
    LosesSlicesPastSixteen,
    /// The first write after a pause is thrown away, and said to be written.
    LosesTheFirstWriteAfterAPause,
    /// A pending read wakes its task at once, without end.
    WakesReadersWithoutEnd,
    /// A pending write wakes its task at once, without end.
    WakesWritersWithoutEnd,
    /// A byte is wrong after some megabytes.
    CorruptsAfterMegabytes,
    /// A byte is wrong after some thousands of turns.
    CorruptsAfterThousandsOfTurns,
    /// A write says that it took one byte more than it was given.
    TakesMoreThanItIsGiven,
    /// A write that has to wait says that it took nothing.
    TakesNothingInsteadOfWaiting,
    /// It works on the thread that made it.
    WorksOnOneThread,
    /// On another thread its reads never return.
    WaitsOnOtherThreads,
}
