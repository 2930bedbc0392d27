# frozen_string_literal: true

module TaskerCore
  module DomainEvents
    # The subscribers of this process.
    class SubscriberRegistry
      @lock = Mutex.new

      # @return [SubscriberRegistry]
      def self.instance
        @lock.synchronize { @instance ||= new }
      end

      def initialize
        @subscribers = []
        @started = false
      end

      # @param subscriber_class [Class] a subclass of {BaseSubscriber}
      # @return [BaseSubscriber] an instance of it
      def register(subscriber_class)
        register_instance(subscriber_class.new)
      end

      # @param subscriber [BaseSubscriber] starts at once if the others are started
      # @return [BaseSubscriber]
      def register_instance(subscriber)
        @subscribers += [subscriber]
        subscriber.start! if started?
        subscriber
      end

      # Starts all subscribers.
      #
      # @return [self]
      def start_all!
        @started = true
        @subscribers.each(&:start!)
        self
      end

      # Stops all subscribers.
      #
      # @return [self]
      def stop_all!
        @started = false
        @subscribers.each(&:stop!)
        self
      end

      # @return [Boolean]
      def started?
        @started
      end

      # @return [Integer]
      def count
        @subscribers.size
      end

      # @return [Hash{Symbol => Object}] +started+, +subscribers+ (with +class+, +patterns+ and +active+)
      def stats
        { started: started?, subscribers: @subscribers.map do |subscriber|
          { class: subscriber.class.name, patterns: subscriber.class.patterns, active: subscriber.active? }
        end }
      end

      # Stops and forgets all subscribers, as tests do.
      #
      # @return [self]
      def reset!
        stop_all!
        @subscribers = []
        self
      end
    end
  end
end
