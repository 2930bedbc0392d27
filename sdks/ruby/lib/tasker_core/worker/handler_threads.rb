# frozen_string_literal: true

module TaskerCore
  module Worker
    # Threads that handlers run on. They start when they are first needed, up to a limit; beyond it, work waits.
    class HandlerThreads
      # @param limit [Integer] most threads
      def initialize(limit)
        @limit = limit
        @work = Thread::Queue.new
        @threads = []
        @busy = 0
        @lock = Mutex.new
      end

      # Runs the block on a thread.
      def submit(&work)
        @lock.synchronize do
          @busy += 1
          start_thread if @threads.size < [@busy, @limit].min
        end
        @work << work
      end

      # Lets threads that are idle end, and busy ones after their work.
      def stop
        @work.close
      end

      private

      def start_thread
        thread = Thread.new { serve }
        thread.name = "tasker-handler-#{@threads.size + 1}"
        @threads << thread
      end

      def serve
        while (work = @work.pop)
          begin
            work.call
          ensure
            @lock.synchronize { @busy -= 1 }
          end
        end
      ensure
        # Work may end its thread; another takes its place.
        @lock.synchronize { @threads.delete(Thread.current) }
      end
    end
  end
end
