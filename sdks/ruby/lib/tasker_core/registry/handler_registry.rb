# frozen_string_literal: true

module TaskerCore
  module Registry
    # The handlers of this process.
    class HandlerRegistry
      # Where applications keep their handlers, below the working directory.
      HANDLER_DIRECTORIES = %w[app/handlers lib/handlers handlers app/tasker/handlers lib/tasker/handlers].freeze

      @lock = Mutex.new

      # @return [HandlerRegistry] the one that everything in this process uses by default
      def self.instance
        @lock.synchronize { @instance ||= new }
      end

      # @return [ResolverChain]
      attr_reader :resolver_chain

      # @param resolver_chain [ResolverChain]
      def initialize(resolver_chain: ResolverChain.default)
        @resolver_chain = resolver_chain
      end

      # Finds a handler. Never raises.
      #
      # @param spec [String, Types::HandlerDefinition, Models::HandlerWrapper, #callable]
      # @return [Object, nil] a handler, with +call+ being the method that the specification names
      def resolve_handler(spec)
        resolver_chain.resolve(Types::HandlerDefinition.from(spec))
      rescue StandardError => e
        Logger.instance.warn('handler_not_resolved', logger: 'tasker.registry', callable: callable_of(spec),
                                                     reason: "#{e.class}: #{e.message}")
        nil
      end
      alias resolve resolve_handler

      # Registers a handler, replacing one of the same name.
      #
      # @param name [String, Symbol] what templates call it
      # @param handler [Class, Object] a class (a new instance for every step), or anything that has +call(context)+
      # @return [self]
      def register_handler(name, handler)
        resolver_chain.register(name, handler)
        self
      end
      alias register register_handler

      # @param name [String, Symbol]
      # @return [Boolean] whether a handler of that name was registered
      def unregister_handler(name)
        resolver_chain.explicit_resolver&.unregister(name) || false
      end

      # @param name [String, Symbol]
      # @return [Boolean] whether {#resolve_handler} would find one
      def handler_available?(name)
        resolver_chain.can_resolve?(Types::HandlerDefinition.from(name))
      end
      alias is_registered handler_available?

      # @return [Array<String>] every callable that is known in advance, sorted: registered names, those of handlers
      #   from blocks, and constants of loaded handler classes
      def registered_handlers
        resolver_chain.registered_callables.sort
      end
      alias list_handlers registered_handlers

      # @return [Hash{String => Object}] what was registered by name
      def handlers
        resolver_chain.explicit_resolver&.handlers || {}
      end

      # @param resolver [BaseResolver]
      # @return [self]
      def add_resolver(resolver)
        resolver_chain.add_resolver(resolver)
        self
      end

      # Loads every Ruby file below the directories where applications keep their handlers.
      #
      # @param directories [Array<String>] those that do not exist are left out
      # @return [Array<String>] the files
      def load_handlers(directories = HANDLER_DIRECTORIES)
        files = directories.flat_map { |directory| Dir.glob(File.join(File.expand_path(directory), '**', '*.rb')) }
        files.sort.each { |file| require file }
      end

      # @return [Hash{Symbol => Object}] +template_directory+ (nil if there is none), the +handlers+ that its templates
      #   name, and those of them that are +missing+
      def template_discovery_info
        directory = TemplateDiscovery::TemplatePath.find_template_config_directory
        named = directory ? TemplateDiscovery::HandlerDiscovery.discover_all_handlers(directory) : []
        { template_directory: directory, handlers: named, missing: named.reject { |name| handler_available?(name) } }
      end

      private

      def callable_of(spec)
        spec.respond_to?(:callable) ? spec.callable : spec.to_s
      end
    end
  end
end
