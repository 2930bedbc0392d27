# frozen_string_literal: true

module TaskerCore
  module Worker
    # Turns SIGINT and SIGTERM into a call on an ordinary thread, since a trap must not take locks.
    class Signals
      # The signals.
      NAMES = %w[INT TERM].freeze

      # @param only_defaults [Boolean] leave signals alone that somebody else handles
      # @yield on the first signal; a second one ends the process at once
      # @return [Signals] handling
      def self.handle(only_defaults: false, &block)
        new(only_defaults, &block)
      end

      def initialize(only_defaults, &block)
        @reader, @writer = IO.pipe
        @count = 0
        @before = {}
        NAMES.each { |name| install(name, only_defaults) }
        @thread = Thread.new { wait(block) }
        @thread.name = 'tasker-signals'
      end

      # Restores what was before.
      def restore
        @before.each { |name, handler| trap(name, handler) }
        @before.clear
        @writer.close
      end

      private

      def install(name, only_defaults)
        before = trap(name) { caught(name) }
        if only_defaults && !['DEFAULT', 'SYSTEM_DEFAULT', nil].include?(before)
          trap(name, before)
        else
          @before[name] = before || 'DEFAULT'
        end
      end

      # In the trap.
      def caught(name)
        @count += 1
        exit!(128 + Signal.list.fetch(name)) if @count > 1
        @writer.write_nonblock('.')
      end

      def wait(block)
        block.call if @reader.read(1)
      rescue IOError
        nil # restored meanwhile
      end
    end
  end
end
