# frozen_string_literal: true

require 'tmpdir'
require_relative 'support/captured_log'

RSpec.describe TaskerCore::Registry do
  include_context 'with a captured log'

  let(:base) { TaskerCore::StepHandler::Base }
  let(:registry) { TaskerCore::Registry::HandlerRegistry.new }

  def definition(callable, **options)
    TaskerCore::Types::HandlerDefinition.new(callable: callable, **options)
  end

  let(:order_handler) do
    stub_const('Shop::OrderHandler', Class.new(base) do
      def call(_context) = success(result: { method: 'call', config: config.to_h })
      def refund(_context) = success(result: { method: 'refund' })

      private

      def secret(_context) = success(result: {})
    end)
  end

  describe TaskerCore::Types::HandlerDefinition do
    it 'is made of whatever names a handler' do
      wrapper = TaskerCore::Models::HandlerWrapper.new({ callable: 'a', method: 'm', resolver: 'r', initialization: { x: 1 } })
      full = have_attributes(callable: 'a', handler_method: 'm', resolver: 'r', initialization: { 'x' => 1 })
      expect(described_class.from(wrapper)).to full
      expect(described_class.from({ 'callable' => 'a', 'method' => 'm', 'resolver' => 'r', 'initialization' => { 'x' => 1 } })).to full
      expect(described_class.from('a')).to have_attributes(callable: 'a', handler_method: nil, initialization: {})
      expect(described_class.from(Struct.new(:callable).new(:a))).to have_attributes(callable: 'a')
    end

    it 'says which method executes the step' do
      expect(described_class.new(callable: 'a'))
        .to have_attributes(effective_method: 'call', uses_method_dispatch?: false, has_resolver_hint?: false)
      expect(described_class.new(callable: 'a', handler_method: 'call')).to have_attributes(uses_method_dispatch?: false)
      expect(described_class.new(callable: 'a', handler_method: '', resolver: ''))
        .to have_attributes(effective_method: 'call', has_resolver_hint?: false)
      expect(described_class.new(callable: 'a', handler_method: 'm', resolver: 'r'))
        .to have_attributes(effective_method: 'm', uses_method_dispatch?: true, has_resolver_hint?: true)
    end
  end

  describe TaskerCore::Registry::HandlerRegistry do
    it 'has one instance for the process' do
      expect(described_class.instance).to equal(described_class.instance)
    end

    it 'finds registered classes, instances and Procs' do
      instance = order_handler.new
      registry.register_handler('class', order_handler).register('instance', instance).register_handler(:proc, ->(_context) { 1 })

      expect(registry.resolve_handler('class')).to be_a(order_handler)
      expect(registry.resolve_handler('class')).not_to equal(registry.resolve_handler('class'))
      expect(registry.resolve_handler('instance')).to equal(instance)
      expect(registry.resolve('proc').call(nil)).to eq(1)
      expect(registry.registered_handlers).to include('class', 'instance', 'proc')
      expect(registry.handlers.keys).to eq(%w[class instance proc])
      expect(registry.handler_available?('class') && registry.is_registered('proc')).to be(true)
      expect(registry.handler_available?('other')).to be(false)
    end

    it 'does not take what cannot be called' do
      expect { registry.register_handler('x', 5) }.to raise_error(ArgumentError)
    end

    it 'gives a handler its configuration if its constructor takes one' do
      order_handler
      plain = Class.new { def call(_context) = 1 }
      positional = Class.new { def initialize(config) = @config = config }
      stub_const('Plain', plain)
      registry.register('positional', positional)

      made = registry.resolve_handler(definition('Shop::OrderHandler', initialization: { 'url' => 'x' }))
      expect(made.config[:url]).to eq('x')
      expect(registry.resolve_handler(definition('Plain', initialization: { 'url' => 'x' }))).to be_a(plain)
      handler = registry.resolve_handler(definition('positional', initialization: { 'a' => 1 }))
      expect(handler.instance_variable_get(:@config)).to eq(config: { 'a' => 1 })
    end

    it 'finds nothing for a handler that cannot be made, and says why' do
      registry.register('broken', Class.new(base) { def initialize = raise('no disk') })
      expect(registry.resolve_handler('broken')).to be_nil
      expect(log).to include('handler_not_made', 'no disk')
    end

    it 'finds classes by their constants, unless there is no such class or method' do
      order_handler
      stub_const('Shop::Abstract', Class.new(base))
      stub_const('Shop::NUMBER', 5)

      expect(registry.resolve_handler('Shop::OrderHandler')).to be_a(order_handler)
      ['Shop::Abstract', 'Shop::NUMBER', 'Shop', 'Shop::Nobody', 'shop::order', 'Shop::', 'Shop::OrderHandler; exit', '', 'String',
       'Kernel'].each do |name|
        expect(registry.resolve_handler(name)).to be_nil, name
        expect(registry.handler_available?(name)).to be(false), name
      end
    end

    it 'calls another method if that is wanted and public' do
      order_handler
      registry.register('orders', order_handler)
      %w[orders Shop::OrderHandler].each do |callable|
        expect(registry.resolve_handler(definition(callable, handler_method: 'refund')).call(nil).result).to eq(method: 'refund')
        expect(registry.resolve_handler(definition(callable, handler_method: 'nope'))).to be_nil
        expect(registry.resolve_handler(definition(callable, handler_method: 'secret'))).to be_nil
      end
    end

    it 'asks only the resolver that is named, and never raises' do
      order_handler
      expect(registry.resolve_handler(definition('Shop::OrderHandler', resolver: 'class_constant'))).to be_a(order_handler)
      expect(registry.resolve_handler(definition('Shop::OrderHandler', resolver: 'explicit_mapping'))).to be_nil
      expect(registry.resolve_handler(definition('Shop::OrderHandler', resolver: 'ghost'))).to be_nil
      expect(registry.resolve_handler(nil)).to be_nil
      expect(log).to include('handler_not_resolved', 'ghost')
    end

    it 'can be registered with by many threads' do
      Array.new(8) { |n| Thread.new { 50.times { |i| registry.register_handler("h#{n}_#{i}", order_handler) } } }.each(&:join)
      expect(registry.handlers.size).to eq(400)
    end

    it 'loads files of handlers' do
      Dir.mktmpdir do |directory|
        Dir.mkdir(File.join(directory, 'nested'))
        name = "Loaded#{Process.pid}"
        File.write(File.join(directory, 'nested', 'a.rb'), "class #{name} < TaskerCore::StepHandler::Base; def call(context) = 1; end")
        expect(registry.load_handlers([directory, '/nonexistent']).size).to eq(1)
        expect(registry.registered_handlers).to include(name)
      end
    end
  end

  describe TaskerCore::Registry::ResolverChain do
    let(:chain) { described_class.default }

    it 'asks in the order of priority' do
      expect(chain.resolver_names).to eq(%w[explicit_mapping functional class_constant])
      expect(chain.chain_info.first).to eq(name: 'explicit_mapping', priority: 10, callables: 0)
      expect(chain.size).to eq(3)
    end

    it 'can be changed' do
      expect(chain.get_resolver('class_constant')).to be_a(TaskerCore::Registry::Resolvers::ClassConstantResolver)
      expect(chain.remove_resolver('class_constant')).to be(true)
      expect(chain.remove_resolver('class_constant')).to be(false)
      expect(chain.get_resolver('class_constant')).to be_nil
      expect(chain.with_resolver(TaskerCore::Registry::Resolvers::ExplicitMappingResolver.new('mine'))).to equal(chain)
      expect(chain.resolver_names).to eq(%w[explicit_mapping mine functional])
    end

    it 'raises if a definition names a resolver that it does not have, or it has no table' do
      expect { chain.resolve(definition('a', resolver: 'ghost')) }
        .to raise_error(TaskerCore::Registry::ResolverNotFoundError, /"ghost", only explicit_mapping/)
      expect { described_class.new.register('a', order_handler) }.to raise_error(TaskerCore::Registry::ResolutionError)
    end

    it 'goes on to the next resolver if one finds nothing' do
      nothing = Class.new(TaskerCore::Registry::RegistryResolver) { handles_prefix('a') }
      expect(chain.add_resolver(nothing.new).register('abc', order_handler).resolve(definition('abc'))).to be_a(order_handler)
    end

    it 'unregisters and forgets' do
      table = chain.register('a', order_handler).explicit_resolver
      expect(table).to have_attributes(size: 1, registered_callables: ['a'])
      expect([table.unregister('a'), table.unregister('a'), table.registered?('a')]).to eq([true, false, false])
      expect(chain.register('a', order_handler).explicit_resolver.clear!.size).to eq(0)
    end
  end

  describe TaskerCore::Registry::RegistryResolver do
    let(:resolver_class) do
      stub_const('PaymentsResolver', Class.new(described_class) do
        handles_prefix 'payments.'
        handles_pattern(/\Aold_\w+\z/)
        def resolve_handler(definition, _config) = "handler of #{definition.callable}"
      end)
    end

    it 'resolves by prefix, pattern and key' do
      resolver_class.register_handler('charge', order_handler)
      resolver = resolver_class.new
      expect(resolver).to have_attributes(name: 'payments_resolver', priority: 50, registered_callables: ['charge'])
      expect(%w[payments.x old_y charge new_y].map { |name| resolver.can_resolve?(definition(name)) }).to eq([true, true, true, false])
      expect(resolver.resolve(definition('payments.x'))).to eq('handler of payments.x')
      expect(resolver.resolve(definition('charge'))).to be_a(order_handler)
    end

    it 'has the name and place that it says' do
      resolver_class.resolver_name('payments')
      resolver_class.priority_value(5)
      expect(resolver_class.new).to have_attributes(name: 'payments', priority: 5)
      expect(Class.new(resolver_class).new.priority).to eq(5)
    end
  end

  it 'says what a resolver must define' do
    resolver = TaskerCore::Registry::BaseResolver.new
    [-> { resolver.name }, -> { resolver.priority }, -> { resolver.can_resolve?(nil) }, -> { resolver.resolve(nil) }].each do |call|
      expect(&call).to raise_error(NotImplementedError, /must define/)
    end
    expect(resolver.registered_callables).to eq([])
  end

  it 'takes resolvers of an application' do
    resolver = Class.new(TaskerCore::Registry::RegistryResolver) do
      priority_value 1
      handles_prefix 'mine.'
      def resolve_handler(definition, _config) = ->(_context) { definition.callable }
    end.new
    expect(registry.add_resolver(resolver)).to equal(registry)
    expect(registry.resolve_handler('mine.x').call(nil)).to eq('mine.x')
    expect(registry.handler_available?('mine.x')).to be(true)
  end

  describe TaskerCore::Registry::MethodDispatchWrapper do
    it 'is the handler with another call' do
      handler = order_handler.new
      wrapper = described_class.new(handler, 'refund')
      expect(wrapper.call(nil).result).to eq(method: 'refund')
      expect(wrapper).to have_attributes(unwrap: handler, handler_class: order_handler, handler_name: 'order_handler')
      expect(wrapper.wraps?(base)).to be(true)
      expect(wrapper.wraps?(String)).to be(false)
      expect { wrapper.nothing }.to raise_error(NoMethodError)
      expect { described_class.new(handler, 'nope') }.to raise_error(ArgumentError, /no public method nope/)
    end
  end
end
