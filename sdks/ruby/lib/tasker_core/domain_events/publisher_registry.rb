# frozen_string_literal: true

module TaskerCore
  module DomainEvents
    # Publishers that templates name are missing.
    class ValidationError < Errors::Error; end
    # There is no publisher of that name.
    class PublisherNotFoundError < Errors::Error; end
    # The registry was frozen.
    class RegistryFrozenError < Errors::Error; end
    # There is a publisher of that name already.
    class DuplicatePublisherError < Errors::Error; end

    # Publishers by name, besides the {DefaultPublisher}, which is always there. Threads may share it.
    class PublisherRegistry
      @lock = Mutex.new

      # @return [PublisherRegistry] the one that workers use
      def self.instance
        @lock.synchronize { @instance ||= new }
      end

      def initialize
        @lock = Mutex.new
        reset!
      end

      # @param publisher [BasePublisher]
      # @return [BasePublisher]
      # @raise [DuplicatePublisherError] there is one of its name
      # @raise [RegistryFrozenError]
      def register(publisher)
        name = publisher.name.to_s
        change do |publishers|
          taken = publishers.key?(name) || name == @default.name
          raise DuplicatePublisherError, "there is a publisher #{name} already" if taken

          publishers[name] = publisher
        end
      end

      # @return [BasePublisher, nil] the one that was removed
      # @raise [RegistryFrozenError]
      def unregister(name)
        change { |publishers| publishers.delete(name.to_s) }
      end

      # @return [BasePublisher, nil]
      def get(name)
        @lock.synchronize { name.to_s == @default.name ? @default : @publishers[name.to_s] }
      end

      # @return [BasePublisher] the {DefaultPublisher} if there is none of that name
      def get_or_default(name)
        get(name) || @default
      end

      # @return [BasePublisher]
      # @raise [PublisherNotFoundError]
      def get_strict(name)
        names = [@default.name, *registered_names].join(', ')
        get(name) || raise(PublisherNotFoundError, "there is no publisher #{name}, only #{names}")
      end

      # @return [Boolean]
      def registered?(name)
        !get(name).nil?
      end

      # @return [Array<String>] without the default one's
      def registered_names
        @lock.synchronize { @publishers.keys }
      end

      # @return [Integer] without the default one
      def count
        registered_names.size
      end

      # @return [Boolean] whether there is none but the default one
      def empty?
        count.zero?
      end

      # Removes all but the default one.
      #
      # @raise [RegistryFrozenError]
      def clear
        change(&:clear)
        self
      end

      # @param names [Array<String>]
      # @return [true]
      # @raise [ValidationError] some are missing
      def validate_required!(names)
        missing = names.map(&:to_s).reject { |name| registered?(name) }
        raise ValidationError, "there are no publishers #{missing.join(', ')}" unless missing.empty?

        true
      end

      # @return [Boolean] whether it can be changed no more
      def frozen?
        @frozen
      end

      # From here on, changes raise {RegistryFrozenError}.
      def freeze!
        @frozen = true
        self
      end

      # Starts anew, as tests do.
      def reset!
        @lock.synchronize do
          @publishers = {}
          @default = DefaultPublisher.new
          @frozen = false
        end
        self
      end

      private

      def change
        @lock.synchronize do
          raise RegistryFrozenError, 'the publishers are frozen' if @frozen

          yield @publishers
        end
      end
    end
  end
end
